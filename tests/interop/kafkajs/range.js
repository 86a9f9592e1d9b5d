'use strict'

/**
 * The range assignor as all other clients have it.
 *
 * kafkajs brings only its own "RoundRobinAssigner", a name no other client knows, so that its members
 * could share no group with others. The format of what is exchanged is everybody's.
 */

const { AssignerProtocol } = require('kafkajs')

const { MemberAssignment, MemberMetadata } = AssignerProtocol

const range = ({ cluster }) => ({
  name: 'range',
  version: 0,

  protocol({ topics }) {
    return { name: 'range', metadata: MemberMetadata.encode({ version: 0, topics, userData: null }) }
  },

  /** Each topic's partitions in consecutive ranges, the first members having one more. */
  async assign({ members, topics }) {
    const assignments = new Map(members.map(({ memberId }) => [memberId, {}]))
    for (const topic of topics) {
      const subscribed = members
        .filter(each => MemberMetadata.decode(each.memberMetadata).topics.includes(topic))
        .map(({ memberId }) => memberId)
        .sort()
      const partitions = cluster
        .findTopicPartitionMetadata(topic)
        .map(({ partitionId }) => partitionId)
        .sort((a, b) => a - b)
      subscribed.forEach((memberId, index) => {
        const start = Math.ceil((partitions.length * index) / subscribed.length)
        const end = Math.ceil((partitions.length * (index + 1)) / subscribed.length)
        assignments.get(memberId)[topic] = partitions.slice(start, end)
      })
    }
    return [...assignments].map(([memberId, assignment]) => ({
      memberId,
      memberAssignment: MemberAssignment.encode({ version: 0, assignment, userData: null }),
    }))
  },
})

module.exports = { range }
