'use strict'

/** Registers the codecs that kafkajs does not bring with it. */

const { CompressionCodecs, CompressionTypes } = require('kafkajs')
const zstd = require('@bokuweb/zstd-wasm')
const lz4 = require('lz4-napi')
const snappy = require('snappy')

const registerCodecs = async () => {
  await zstd.init()
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: encoder => snappy.compress(encoder.buffer),
    decompress: buffer => snappy.uncompress(buffer, { asBuffer: true }),
  })
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: encoder => lz4.compressFrame(encoder.buffer),
    decompress: buffer => lz4.decompressFrame(buffer),
  })
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
  })
}

const compressionTypes = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

module.exports = { registerCodecs, compressionTypes }
