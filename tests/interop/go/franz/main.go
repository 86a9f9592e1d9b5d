// Command franz is the suite of franz-go: kgo for records, kadm for the rest.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg.example/interop/records"
	"thalweg.example/interop/steps"
)

var (
	topic    = steps.Topic("franz-go")
	expected = records.Expect()
	codecs   = map[string]kgo.CompressionCodec{
		"none":   kgo.NoCompression(),
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	}
)

func main() {
	var run steps.Steps
	// The client answers from metadata of this age; five seconds is a long wait for a deleted topic.
	client := steps.Must(kgo.NewClient(kgo.SeedBrokers(steps.Bootstrap()), kgo.MetadataMinAge(100*time.Millisecond)))
	admin := kadm.NewClient(client)

	run.Step("create-topic", func(ctx context.Context) error {
		retention := "86400000"
		configs := map[string]*string{"retention.ms": &retention}
		created, err := admin.CreateTopic(ctx, records.Partitions, 1, configs, topic)
		if err != nil {
			return err
		}
		if created.NumPartitions != records.Partitions {
			return fmt.Errorf("created %d partitions", created.NumPartitions)
		}
		return nil
	})
	run.Step("describe-topic", func(ctx context.Context) error { return describeTopic(ctx, admin) })
	for _, codec := range records.Codecs {
		run.Step("produce-"+codec, func(ctx context.Context) error { return produce(ctx, codec) })
	}
	run.Step("list-offsets", func(ctx context.Context) error { return listOffsets(ctx, admin) })
	run.Step("read-all", func(ctx context.Context) error {
		return readFrom(ctx, make(map[int32]int64), 0)
	})
	run.Step("read-from-timestamp", func(ctx context.Context) error {
		when := expected.Record(records.Probe).Timestamp
		found, err := admin.ListOffsetsAfterMilli(ctx, when.UnixMilli(), topic)
		if err != nil {
			return err
		}
		starts := make(map[int32]int64)
		for partition, offset := range found[topic] {
			starts[partition] = offset.Offset
		}
		return readFrom(ctx, starts, records.Probe)
	})
	run.Step("describe-topic-configs", func(ctx context.Context) error {
		configs, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		return requireConfigs(configs, map[string]string{"cleanup.policy": "delete", "retention.ms": "86400000"})
	})
	run.Step("describe-broker-configs", func(ctx context.Context) error {
		cluster, err := admin.BrokerMetadata(ctx)
		if err != nil {
			return err
		}
		configs, err := admin.DescribeBrokerConfigs(ctx, cluster.Brokers.NodeIDs()...)
		if err != nil {
			return err
		}
		return requireConfigs(configs, map[string]string{"message.max.bytes": ""})
	})
	run.Step("describe-log-dirs", func(ctx context.Context) error {
		dirs, err := admin.DescribeAllLogDirs(ctx, nil)
		if err != nil {
			return err
		}
		replicas := 0
		for _, described := range dirs {
			described.Each(func(dir kadm.DescribedLogDir) { replicas += len(dir.Topics[topic]) })
		}
		if replicas != records.Partitions {
			return fmt.Errorf("%d replicas are described", replicas)
		}
		return nil
	})
	run.Step("delete-records", func(ctx context.Context) error {
		var before kadm.Offsets
		before.AddOffset(topic, 0, 100, -1)
		deleted, err := admin.DeleteRecords(ctx, before)
		if err != nil {
			return err
		}
		if lowWatermark := deleted[topic][0].LowWatermark; lowWatermark != 100 {
			return fmt.Errorf("low watermark %d: %v", lowWatermark, deleted.Error())
		}
		return nil
	})
	run.Step("delete-topic", func(ctx context.Context) error {
		if _, err := admin.DeleteTopic(ctx, topic); err != nil {
			return err
		}
		return steps.Eventually(ctx, "topic is gone", func() (bool, error) {
			listed, err := admin.ListTopics(ctx)
			return !listed.Has(topic), err
		})
	})
	run.Exit()
}

func describeTopic(ctx context.Context, admin *kadm.Client) error {
	var detail kadm.TopicDetail
	err := steps.Eventually(ctx, "topic is listed", func() (bool, error) {
		listed, err := admin.ListTopics(ctx)
		detail = listed[topic]
		return listed.Has(topic), err
	})
	if err != nil {
		return err
	}
	if len(detail.Partitions) != records.Partitions {
		return fmt.Errorf("%d partitions", len(detail.Partitions))
	}
	for _, partition := range detail.Partitions {
		if len(partition.ISR) == 0 || partition.Leader < 0 {
			return fmt.Errorf("partition has no leader: %+v", partition)
		}
	}
	return nil
}

// produce writes one codec's records with what the client does by default:
// idempotence and acks from all.
func produce(ctx context.Context, codec string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(steps.Bootstrap()),
		kgo.ProducerBatchCompression(codecs[codec]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(20*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var failure error
	var once sync.Once
	for _, record := range expected.CodecBlock(codec) {
		client.Produce(ctx, toClient(record), func(placed *kgo.Record, err error) {
			if err == nil && placed.Offset != record.Offset {
				err = fmt.Errorf("record placed at %d, expected %d", placed.Offset, record.Offset)
			}
			if err != nil {
				once.Do(func() { failure = err })
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	return failure
}

func toClient(record records.Record) *kgo.Record {
	converted := &kgo.Record{
		Topic:     topic,
		Partition: record.Partition,
		Timestamp: record.Timestamp,
		Key:       record.Key,
		Value:     record.Value,
	}
	for _, header := range record.Headers {
		converted.Headers = append(converted.Headers, kgo.RecordHeader(header))
	}
	return converted
}

func fromClient(record *kgo.Record) records.Record {
	converted := records.Record{
		Partition: record.Partition,
		Offset:    record.Offset,
		Timestamp: record.Timestamp,
		Key:       record.Key,
		Value:     record.Value,
	}
	for _, header := range record.Headers {
		converted.Headers = append(converted.Headers, records.Header(header))
	}
	return converted
}

func listOffsets(ctx context.Context, admin *kadm.Client) error {
	earliest, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	latest, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	stable, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return err
	}
	newest, err := admin.ListMaxTimestampOffsets(ctx, topic)
	if err != nil {
		return err
	}
	for partition := range int32(records.Partitions) {
		end := records.EndOffset(partition)
		got := []int64{
			earliest[topic][partition].Offset,
			latest[topic][partition].Offset,
			stable[topic][partition].Offset,
			newest[topic][partition].Offset,
		}
		if want := []int64{0, end, end, end - 1}; fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("partition %d: offsets %v, expected %v", partition, got, want)
		}
	}
	return nil
}

// readFrom reads to the end from the given offsets, 0 where none is given, and
// compares with the records from number start on.
func readFrom(ctx context.Context, starts map[int32]int64, start int) error {
	assignment := make(map[int32]kgo.Offset)
	for partition := range int32(records.Partitions) {
		assignment[partition] = kgo.NewOffset().At(starts[partition])
		if want := expected.First(partition, start).Offset; starts[partition] != want {
			return fmt.Errorf("partition %d: starts at %d, expected %d", partition, starts[partition], want)
		}
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(steps.Bootstrap()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assignment}),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var seen []records.Record
	for len(seen) < records.Count-start {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d records: %w", len(seen), err)
		}
		fetches.EachRecord(func(record *kgo.Record) { seen = append(seen, fromClient(record)) })
	}
	return expected.Check(seen, start)
}

// requireConfigs looks for the wanted settings; an empty value stands for any.
func requireConfigs(described kadm.ResourceConfigs, wanted map[string]string) error {
	for _, resource := range described {
		if resource.Err != nil {
			return resource.Err
		}
		found := make(map[string]string)
		for _, config := range resource.Configs {
			found[config.Key] = config.MaybeValue()
		}
		for key, want := range wanted {
			if got := found[key]; got == "" || want != "" && got != want {
				return fmt.Errorf("%s: %s is %q, expected %q", resource.Name, key, got, want)
			}
		}
	}
	if len(described) == 0 {
		return fmt.Errorf("nothing is described")
	}
	return nil
}
