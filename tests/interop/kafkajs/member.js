'use strict'

/** kafkajs as a group's member; what members do and print is in README.md. */

const readline = require('node:readline')
const { Kafka, logLevel } = require('kafkajs')

const { range } = require('./range')

const [bootstrap, groupId, topic, name, protocol, session, instance] = process.argv.slice(2)
if (protocol !== 'classic' || instance !== undefined) {
  throw new Error('kafkajs knows neither the consumer protocol nor static members')
}

const print = (...words) => {
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1000)
  process.stdout.write(`${micros} ${words.join(' ')}\n`)
}

const kafka = new Kafka({ brokers: [bootstrap], clientId: name, logLevel: logLevel.ERROR })
const consumer = kafka.consumer({
  groupId,
  sessionTimeout: Number(session),
  rebalanceTimeout: 30_000,
  heartbeatInterval: 500,
  maxWaitTimeInMs: 200,
  partitionAssigners: [range],
})

let owned = []
let stopping = false
// The batch at hand, or one that is done.
let batchDone = Promise.resolve()

/** Prints that what is owned no longer is; nothing when nothing is. */
const release = event => {
  if (owned.length > 0) print(event, owned.join(','))
  owned = []
}

consumer.on(consumer.events.REBALANCING, () => release('revoked'))
consumer.on(consumer.events.CRASH, () => release('lost'))
consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
  // A member that the group has forgotten joins anew without a word.
  release('lost')
  owned = payload.memberAssignment[topic] ?? []
  print('assigned', owned.join(','))
})

const processBatch = async ({ batch, resolveOffset, commitOffsetsIfNecessary, heartbeat }) => {
  if (stopping) return
  const { partition, messages } = batch
  for (const { offset } of messages) {
    print('record', partition, offset)
  }
  const last = messages[messages.length - 1].offset
  const next = String(BigInt(last) + 1n)
  try {
    await commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, offset: next }] }] })
  } catch (error) {
    print('refused', error.type ?? error.message)
    throw error
  }
  print('committed', partition, next)
  resolveOffset(last)
  await heartbeat()
}

const stop = async () => {
  if (stopping) return
  stopping = true
  await batchDone.catch(() => {})
  release('revoked')
  await consumer.disconnect()
  process.exit(0)
}

const main = async () => {
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: payload => (batchDone = processBatch(payload)),
  })
  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', line => line === 'stop' && stop())
  lines.on('close', stop)
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
