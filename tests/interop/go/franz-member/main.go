// Command franz-member is franz-go as a group's member; what members do and
// print is in tests/interop/README.md.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg.example/interop/member"
)

// fencing ends a member whose instance id another process has taken: the
// client itself would try again for ever.
type fencing struct{}

func (fencing) OnGroupManageError(err error) {
	if errors.Is(err, kerr.FencedInstanceID) {
		member.Print("fenced")
		os.Exit(0)
	}
}

func main() {
	args := member.ParseArgs()
	ctx, stop := context.WithCancel(context.Background())
	member.OnStop(stop)
	event := func(name string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			member.Print(name, member.List(partitions[args.Topic]))
		}
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(args.Bootstrap),
		kgo.ClientID(args.Name),
		kgo.ConsumerGroup(args.Group),
		kgo.ConsumeTopics(args.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(args.Session),
		kgo.HeartbeatInterval(member.Heartbeat),
		kgo.RebalanceTimeout(member.RebalanceTimeout),
		kgo.DisableAutoCommit(),
		// No rebalance between reading a batch and committing it.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(event("assigned")),
		kgo.OnPartitionsRevoked(event("revoked")),
		kgo.OnPartitionsLost(event("lost")),
		kgo.WithHooks(fencing{}),
	}
	if args.Instance != "" {
		options = append(options, kgo.InstanceID(args.Instance))
	}
	client, err := kgo.NewClient(options...)
	member.Must(err)
	for ctx.Err() == nil {
		process(client, client.PollRecords(ctx, member.BatchMax).Records())
		client.AllowRebalance()
	}
	client.LeaveGroup()
	client.Close()
}

func process(client *kgo.Client, batch []*kgo.Record) {
	if len(batch) == 0 {
		return
	}
	next := make(map[int32]int64)
	for _, record := range batch {
		member.Print("record", record.Partition, record.Offset)
		next[record.Partition] = record.Offset + 1
	}
	// Not the context that "stop" cancels: what was processed is committed.
	if err := client.CommitRecords(context.Background(), batch...); err != nil {
		member.Print("refused", err)
		return
	}
	for partition, offset := range next {
		member.Print("committed", partition, offset)
	}
}
