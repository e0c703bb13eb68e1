// transformers.js on the Hugging Face folder of a bundle, unchanged: node cell.mjs BUNDLE
import fs from 'node:fs'
import path from 'node:path'
import { AutoModelForImageClassification, Tensor, env } from '@huggingface/transformers'

const bundle = path.resolve(process.argv[2])
const version = JSON.parse(fs.readFileSync(new URL('node_modules/@huggingface/transformers/package.json', import.meta.url))).version
const cell = { stack: 'transformers.js', version, file: path.basename(bundle) }

// A TensorProto of f32 as golden cases have it: dims, type, name, raw data.
function tensor(file) {
  const bytes = fs.readFileSync(file)
  let at = 0
  const varint = () => { let n = 0, shift = 1; for (;;) { const b = bytes[at++]; n += (b & 127) * shift; if (b < 128) return n; shift *= 128 } }
  const dims = []
  let raw
  while (at < bytes.length) {
    const key = varint()
    if ((key & 7) === 0) { const n = varint(); if (key >> 3 === 1) dims.push(n); continue }
    const length = varint()
    if (key >> 3 === 1) { const end = at + length; while (at < end) dims.push(varint()); continue }
    if (key >> 3 === 9) raw = bytes.subarray(at, at + length)
    at += length
  }
  return { dims, data: new Float32Array(new Uint8Array(raw).buffer) }
}

try {
  env.allowRemoteModels = false
  env.localModelPath = path.dirname(bundle)
  const model = await AutoModelForImageClassification.from_pretrained(`${path.basename(bundle)}/huggingface`, { dtype: 'fp32', device: 'cpu' })
  let worst = 0
  for (let n = 0; fs.existsSync(`${bundle}/onnx/test_data_set_${n}`); n++) {
    const input = tensor(`${bundle}/onnx/test_data_set_${n}/input_0.pb`)
    const golden = tensor(`${bundle}/onnx/test_data_set_${n}/output_0.pb`).data
    const { logits } = await model({ pixel_values: new Tensor('float32', input.data, input.dims) })
    const largest = golden.reduce((most, number) => Math.max(most, Math.abs(number)), 0)
    golden.forEach((number, at) => { worst = Math.max(worst, Math.abs(number - logits.data[at]) / largest) })
  }
  Object.assign(cell, { accepted: true, difference: worst })
} catch (error) {
  Object.assign(cell, { accepted: false, difference: null, said: String(error.message ?? error).split('\n')[0].slice(0, 160) })
}
console.log(JSON.stringify(cell))
