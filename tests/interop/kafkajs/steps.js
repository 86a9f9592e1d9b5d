'use strict'

/** Reports one line for each step, in the form tests/interop/run reads. */

/** A broker that is slower than this at anything we ask has failed. */
const DEADLINE_MS = 15_000

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

class Steps {
  failed = false

  /** A step that fails is reported and the next one still runs: one run shows all faults. */
  async step(name, body) {
    try {
      await withinDeadline(body())
      console.log(`ok ${name}`)
    } catch (error) {
      this.failed = true
      console.log(`FAIL ${name}: ${String(error).replace(/\s+/g, ' ').slice(0, 500)}`)
      console.error(error)
    }
  }
}

const withinDeadline = promise => {
  let timer
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${DEADLINE_MS} ms`)), DEADLINE_MS)
  })
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer))
}

/** Waits for a state that a broker reaches on its own; the step's deadline bounds it. */
const eventually = async condition => {
  while (!(await condition())) await pause(50)
}

module.exports = { Steps, eventually }
