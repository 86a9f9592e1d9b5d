// Command sarama-member is sarama as a group's member; what members do and
// print is in tests/interop/README.md.
package main

import (
	"context"
	"errors"
	"sync"

	"github.com/IBM/sarama"

	"thalweg.example/interop/member"
)

type handler struct {
	args  member.Args
	admin sarama.ClusterAdmin
	// The session commits all its partitions at once.
	committing sync.Mutex
}

func main() {
	args := member.ParseArgs()
	ctx, stop := context.WithCancel(context.Background())
	member.OnStop(stop)
	config := sarama.NewConfig()
	config.ClientID = args.Name
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = args.Session
	config.Consumer.Group.Heartbeat.Interval = member.Heartbeat
	config.Consumer.Group.Rebalance.Timeout = member.RebalanceTimeout
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	config.Consumer.Group.InstanceId = args.Instance
	client, err := sarama.NewClient([]string{args.Bootstrap}, config)
	member.Must(err)
	admin, err := sarama.NewClusterAdminFromClient(client)
	member.Must(err)
	group, err := sarama.NewConsumerGroupFromClient(args.Group, client)
	member.Must(err)
	for ctx.Err() == nil {
		// One call lasts from one rebalance to the next.
		err := group.Consume(ctx, []string{args.Topic}, &handler{args: args, admin: admin})
		if errors.Is(err, sarama.ErrFencedInstancedId) {
			member.Print("fenced")
			break
		}
		if err != nil {
			member.Print("refused", err)
		}
	}
	member.Must(group.Close())
}

func (h *handler) Setup(session sarama.ConsumerGroupSession) error {
	member.Print("assigned", member.List(session.Claims()[h.args.Topic]))
	return nil
}

// Cleanup runs after the last ConsumeClaim has returned. The client does not
// say whether the partitions were given up or lost.
func (h *handler) Cleanup(session sarama.ConsumerGroupSession) error {
	member.Print("revoked", member.List(session.Claims()[h.args.Topic]))
	return nil
}

func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			h.process(session, claim, message)
		}
	}
}

// process takes the message and those that wait behind it.
func (h *handler) process(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim, message *sarama.ConsumerMessage,
) {
	next := message.Offset
	for range min(member.BatchMax, len(claim.Messages())+1) {
		if message == nil {
			message = <-claim.Messages()
		}
		// The channel was closed meanwhile.
		if message == nil {
			break
		}
		member.Print("record", message.Partition, message.Offset)
		next = message.Offset + 1
		message = nil
	}
	h.commit(session, claim.Partition(), next)
}

// commit asks the broker afterwards: the client does not tell how a commit
// ended.
func (h *handler) commit(session sarama.ConsumerGroupSession, partition int32, next int64) {
	h.committing.Lock()
	defer h.committing.Unlock()
	session.MarkOffset(h.args.Topic, partition, next, "")
	session.Commit()
	found, err := h.admin.ListConsumerGroupOffsets(h.args.Group, map[string][]int32{h.args.Topic: {partition}})
	if err != nil {
		member.Print("refused", err)
		return
	}
	if block := found.GetBlock(h.args.Topic, partition); block == nil || block.Offset != next {
		member.Print("refused", "the broker has another offset")
		return
	}
	member.Print("committed", partition, next)
}
