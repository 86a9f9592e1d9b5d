'use strict'

/** kafkajs: the client written in JavaScript alone. */

const assert = require('node:assert/strict')
const { Kafka, ConfigResourceTypes, logLevel } = require('kafkajs')

const { compressionTypes, registerCodecs } = require('./codecs')
const { readPartitions } = require('./fetch')
const records = require('./records')
const { Steps, eventually } = require('./steps')

const topic = `interop-kafkajs-${process.env.INTEROP_RUN ?? process.pid}`
const partitions = Array.from({ length: records.PARTITIONS }, (_, partition) => partition)
const kafka = new Kafka({
  brokers: [process.env.BOOTSTRAP],
  clientId: 'interop',
  logLevel: logLevel.ERROR,
})

const produce = async codec => {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const block = records.codecBlock(codec)
  const placed = await producer.send({
    topic,
    acks: -1,
    compression: compressionTypes[codec],
    messages: block.map(({ offset, ...message }) => message),
  })
  await producer.disconnect()
  for (const { partition, baseOffset } of placed) {
    assert.equal(baseOffset, block.find(record => record.partition === partition).offset)
  }
  assert.equal(placed.length, partitions.length)
}

/** Reads everything as a member of a group, the only way the public consumer has. */
const readInGroup = async () => {
  const consumer = kafka.consumer({ groupId: topic })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const seen = []
  await new Promise((resolve, reject) => {
    // It starts again by itself after what may pass, such as a coordinator that is still loading.
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error))
    const eachMessage = async ({ partition, message }) => {
      const { offset, timestamp, key, value, headers } = message
      seen.push({ partition, offset, timestamp, key, value, headers })
      if (seen.length === records.COUNT) resolve()
    }
    consumer.run({ eachMessage }).catch(reject)
  })
  await consumer.disconnect()
  return seen
}

const describeConfigs = async (admin, type, name) => {
  const { resources } = await admin.describeConfigs({ resources: [{ type, name }] })
  return Object.fromEntries(resources[0].configEntries.map(entry => [entry.configName, entry]))
}

const main = async () => {
  const steps = new Steps()
  await registerCodecs()
  const admin = kafka.admin()
  await admin.connect()

  await steps.step('create-topic', async () => {
    const created = await admin.createTopics({
      waitForLeaders: true,
      topics: [
        {
          topic,
          numPartitions: records.PARTITIONS,
          replicationFactor: 1,
          configEntries: [{ name: 'retention.ms', value: '86400000' }],
        },
      ],
    })
    assert.equal(created, true)
  })

  await steps.step('describe-topic', async () => {
    await eventually(async () => (await admin.listTopics()).includes(topic))
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    assert.deepEqual(topics[0].partitions.map(each => each.partitionId).sort(), partitions)
    assert.ok(topics[0].partitions.every(each => each.isr.includes(each.leader)))
  })

  for (const codec of records.CODECS) {
    await steps.step(`produce-${codec}`, () => produce(codec))
  }

  await steps.step('list-offsets', async () => {
    const offsets = await admin.fetchTopicOffsets(topic)
    assert.equal(offsets.length, partitions.length)
    for (const { partition, low, high, offset } of offsets) {
      assert.deepEqual([low, high, offset], ['0', records.endOffset(partition), high])
    }
  })

  await steps.step('read-all', async () => {
    records.check(await readPartitions(kafka, topic, partitions.map(() => '0')))
  })

  await steps.step('read-from-timestamp', async () => {
    const when = Number(records.record(records.PROBE).timestamp)
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, when)
    const starts = partitions.map(p => found.find(({ partition }) => partition === p).offset)
    const wanted = partitions.map(p => records.record(records.firstOf(p, records.PROBE)).offset)
    assert.deepEqual(starts, wanted)
    records.check(await readPartitions(kafka, topic, starts), records.PROBE)
  })

  await steps.step('read-all-in-group', async () => records.check(await readInGroup()))

  await steps.step('describe-topic-configs', async () => {
    const configs = await describeConfigs(admin, ConfigResourceTypes.TOPIC, topic)
    assert.equal(configs['cleanup.policy'].configValue, 'delete')
    assert.equal(configs['retention.ms'].configValue, '86400000')
  })

  await steps.step('describe-broker-configs', async () => {
    const { brokers } = await admin.describeCluster()
    const name = String(brokers[0].nodeId)
    const configs = await describeConfigs(admin, ConfigResourceTypes.BROKER, name)
    assert.ok(Number(configs['message.max.bytes'].configValue) > 0)
  })

  await steps.step('delete-records', async () => {
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '100' }] })
    const offsets = await admin.fetchTopicOffsets(topic)
    assert.equal(offsets.find(({ partition }) => partition === 0).low, '100')
  })

  await steps.step('delete-topic', async () => {
    await admin.deleteTopics({ topics: [topic] })
    await eventually(async () => !(await admin.listTopics()).includes(topic))
  })

  await admin.disconnect()
  process.exit(steps.failed ? 1 : 0)
}

main().catch(error => {
  console.log(`FAIL connect: ${error}`)
  console.error(error)
  process.exit(1)
})
