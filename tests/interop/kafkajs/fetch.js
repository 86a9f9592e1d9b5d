'use strict'

/**
 * Reads partitions without a consumer group.
 *
 * kafkajs has no assign(): its consumer always joins a group. Below it lies the request layer the
 * consumer itself uses, which this reaches through the constructor kept under a private symbol.
 */

const openCluster = kafka => {
  const symbol = Object.getOwnPropertySymbols(kafka).find(
    each => each.description === 'private:Kafka:createCluster'
  )
  return kafka[symbol]({ isolationLevel: 1 })
}

/** Every record of each partition from `starts[partition]` up to its high watermark. */
const readPartitions = async (kafka, topic, starts) => {
  const cluster = openCluster(kafka)
  await cluster.connect()
  try {
    await cluster.addTargetTopic(topic)
    const leaders = cluster.findLeaderForPartitions(topic, starts.map((_, partition) => partition))
    const seen = []
    for (const [nodeId, partitions] of Object.entries(leaders)) {
      const broker = await cluster.findBroker({ nodeId })
      for (const partition of partitions) {
        seen.push(...(await readPartition(broker, topic, partition, starts[partition])))
      }
    }
    return seen
  } finally {
    await cluster.disconnect()
  }
}

const readPartition = async (broker, topic, partition, start) => {
  const seen = []
  let next = BigInt(start)
  for (;;) {
    const { responses } = await broker.fetch({
      isolationLevel: 1,
      maxWaitTime: 500,
      minBytes: 1,
      maxBytes: 1_000_000,
      topics: [{ topic, partitions: [{ partition, fetchOffset: String(next), maxBytes: 100_000 }] }],
    })
    const { messages, highWatermark } = responses[0].partitions[0]
    // A batch comes whole, with what lies before the offset asked for.
    const fresh = messages.filter(message => BigInt(message.offset) >= next)
    for (const { offset, timestamp, key, value, headers } of fresh) {
      seen.push({ partition, offset, timestamp, key, value, headers })
      next = BigInt(offset) + 1n
    }
    if (next >= BigInt(highWatermark)) return seen
    if (fresh.length === 0) {
      throw new Error(`partition ${partition}: nothing at offset ${next} of ${highWatermark}`)
    }
  }
}

module.exports = { readPartitions }
