'use strict'

/** The ten thousand records every suite writes and reads back, by the rule in README.md. */

const assert = require('node:assert/strict')

const PARTITIONS = 3
const COUNT = 10_000
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const PER_CODEC = COUNT / CODECS.length
/** Reading from this record's timestamp begins at this record, which lies inside a batch. */
const PROBE = 6_543

const baseTimestamp = (Math.floor(Date.now() / 1000) - 3600) * 1000

const value = i => {
  if (i % 10 === 7) return null
  if (i % 10 === 8) return Buffer.alloc(0)
  const filler = Buffer.from(Array.from({ length: (i * 31) % 400 }, (_, j) => (i + j) % 256))
  return Buffer.concat([Buffer.from(`value-${i}-`), filler])
}

/** kafkajs keeps headers in an object and fails on a null value, so that one is left out. */
const headers = i =>
  i % 4 === 0
    ? {}
    : {
        n: Buffer.from(String(i)),
        dup: [Buffer.from('a'), Buffer.from('b')],
        empty: Buffer.alloc(0),
      }

const record = i => ({
  partition: i % PARTITIONS,
  offset: String(Math.floor(i / PARTITIONS)),
  timestamp: String(baseTimestamp + 10 * i),
  key: i % 10 === 3 ? null : Buffer.from(`key-${i}`),
  value: value(i),
  headers: headers(i),
})

const codecBlock = codec => {
  const start = CODECS.indexOf(codec) * PER_CODEC
  return Array.from({ length: PER_CODEC }, (_, n) => record(start + n))
}

/** The number of the first record of a partition that is not before record number `start`. */
const firstOf = (partition, start) => {
  let i = start
  while (i % PARTITIONS !== partition) i += 1
  return i
}

const endOffset = partition => String(Math.ceil((COUNT - partition) / PARTITIONS))

/** Throws unless `seen` is every record from number `start` on, in order per partition. */
const check = (seen, start = 0) => {
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    let i = firstOf(partition, start)
    for (const got of seen.filter(each => each.partition === partition)) {
      assert.ok(i < COUNT, `partition ${partition}: more records than were written`)
      assert.deepEqual(got, record(i))
      i += PARTITIONS
    }
    assert.ok(i >= COUNT, `partition ${partition} ends before record ${i}`)
  }
}

module.exports = { PARTITIONS, COUNT, CODECS, PROBE, record, codecBlock, firstOf, endOffset, check }
