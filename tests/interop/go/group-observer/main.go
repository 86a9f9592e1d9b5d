// Command group-observer looks at a group from outside: it prints its committed
// offsets and its state when they change.
//
// Lines are "MICROS offset PARTITION OFFSET" and "MICROS group STATE TYPE",
// stamped after the broker's answer. It ends at the line "stop".
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg.example/interop/member"
)

const (
	period = 200 * time.Millisecond
	answer = 5 * time.Second
)

type observer struct {
	client *kgo.Client
	group  string
	// What was printed last, by partition and for the group.
	offsets map[int32]int64
	state   string
}

func main() {
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]))
	member.Must(err)
	defer client.Close()
	ctx, stop := context.WithCancel(context.Background())
	member.OnStop(stop)
	o := &observer{client: client, group: os.Args[2], offsets: make(map[int32]int64)}
	for ctx.Err() == nil {
		// The driver waits for what it needs to see; why it does not is told here.
		if err := o.look(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(period):
		}
	}
}

func (o *observer) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	fetched, err := kadm.NewClient(o.client).FetchOffsets(ctx, o.group)
	if err != nil {
		return err
	}
	fetched.Each(func(place kadm.OffsetResponse) {
		if before, ok := o.offsets[place.Partition]; place.Err == nil && (!ok || before != place.At) {
			o.offsets[place.Partition] = place.At
			member.Print("offset", place.Partition, place.At)
		}
	})
	response, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, o.client)
	if err != nil {
		return err
	}
	for _, group := range response.Groups {
		state := strings.ToLower(group.GroupState + " " + group.GroupType)
		if group.Group == o.group && state != o.state {
			o.state = state
			member.Print("group", state)
		}
	}
	return nil
}
