// Command sarama is the suite of IBM's sarama, for the protocol of Kafka 2.8
// as applications get it by default; one step reads with its newest protocol.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"thalweg.example/interop/records"
	"thalweg.example/interop/steps"
)

var (
	topic    = steps.Topic("sarama")
	brokers  = []string{steps.Bootstrap()}
	expected = records.Expect()
	codecs   = map[string]sarama.CompressionCodec{
		"none":   sarama.CompressionNone,
		"gzip":   sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy,
		"lz4":    sarama.CompressionLZ4,
		"zstd":   sarama.CompressionZSTD,
	}
)

func main() {
	var run steps.Steps
	client := steps.Must(sarama.NewClient(brokers, sarama.NewConfig()))
	admin := steps.Must(sarama.NewClusterAdminFromClient(client))

	run.Step("create-topic", func(context.Context) error {
		retention := "86400000"
		return admin.CreateTopic(topic, &sarama.TopicDetail{
			NumPartitions:     records.Partitions,
			ReplicationFactor: 1,
			ConfigEntries:     map[string]*string{"retention.ms": &retention},
		}, false)
	})
	run.Step("describe-topic", func(ctx context.Context) error { return describeTopic(ctx, admin) })
	for _, codec := range records.Codecs {
		run.Step("produce-"+codec, func(context.Context) error { return produce(codec) })
	}
	run.Step("list-offsets", func(context.Context) error {
		for partition := range int32(records.Partitions) {
			for when, want := range map[int64]int64{
				sarama.OffsetOldest: 0,
				sarama.OffsetNewest: records.EndOffset(partition),
			} {
				if got, err := client.GetOffset(topic, partition, when); err != nil || got != want {
					return fmt.Errorf("partition %d: offset %d, expected %d (%v)", partition, got, want, err)
				}
			}
		}
		return nil
	})
	run.Step("read-all", func(ctx context.Context) error {
		return readFrom(ctx, sarama.DefaultVersion, make(map[int32]int64), 0)
	})
	run.Step("read-all-newest-protocol", func(ctx context.Context) error {
		return readFrom(ctx, sarama.MaxVersion, make(map[int32]int64), 0)
	})
	run.Step("read-from-timestamp", func(ctx context.Context) error {
		when := expected.Record(records.Probe).Timestamp
		starts := make(map[int32]int64)
		for partition := range int32(records.Partitions) {
			offset, err := client.GetOffset(topic, partition, when.UnixMilli())
			if err != nil {
				return err
			}
			starts[partition] = offset
		}
		return readFrom(ctx, sarama.DefaultVersion, starts, records.Probe)
	})
	run.Step("describe-topic-configs", func(context.Context) error {
		return requireConfigs(admin, sarama.TopicResource, topic,
			map[string]string{"cleanup.policy": "delete", "retention.ms": "86400000"})
	})
	run.Step("describe-broker-configs", func(context.Context) error {
		nodes, _, err := admin.DescribeCluster()
		if err != nil {
			return err
		}
		return requireConfigs(admin, sarama.BrokerResource, fmt.Sprint(nodes[0].ID()),
			map[string]string{"message.max.bytes": ""})
	})
	run.Step("delete-records", func(context.Context) error {
		if err := admin.DeleteRecords(topic, map[int32]int64{0: 100}); err != nil {
			return err
		}
		if start, err := client.GetOffset(topic, 0, sarama.OffsetOldest); err != nil || start != 100 {
			return fmt.Errorf("log starts at %d (%v)", start, err)
		}
		return nil
	})
	run.Step("delete-topic", func(ctx context.Context) error {
		if err := admin.DeleteTopic(topic); err != nil {
			return err
		}
		return steps.Eventually(ctx, "topic is gone", func() (bool, error) {
			listed, err := admin.ListTopics()
			_, ok := listed[topic]
			return !ok, err
		})
	})
	run.Exit()
}

func describeTopic(ctx context.Context, admin sarama.ClusterAdmin) error {
	err := steps.Eventually(ctx, "topic is listed", func() (bool, error) {
		listed, err := admin.ListTopics()
		_, ok := listed[topic]
		return ok, err
	})
	if err != nil {
		return err
	}
	described, err := admin.DescribeTopics([]string{topic})
	if err != nil {
		return err
	}
	if len(described) != 1 || len(described[0].Partitions) != records.Partitions {
		return fmt.Errorf("described as %v", described)
	}
	for _, partition := range described[0].Partitions {
		if len(partition.Isr) == 0 || partition.Leader < 0 {
			return fmt.Errorf("partition has no leader: %+v", partition)
		}
	}
	return nil
}

func produce(codec string) error {
	config := sarama.NewConfig()
	config.Producer.Compression = codecs[codec]
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Producer.Idempotent = true
	// Sarama keeps a producer's order only with one request at a time.
	config.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	block := expected.CodecBlock(codec)
	messages := make([]*sarama.ProducerMessage, 0, len(block))
	for _, record := range block {
		messages = append(messages, toClient(record))
	}
	if err := producer.SendMessages(messages); err != nil {
		return err
	}
	for i, record := range block {
		if messages[i].Offset != record.Offset {
			return fmt.Errorf("record placed at %d, expected %d", messages[i].Offset, record.Offset)
		}
	}
	return nil
}

func toClient(record records.Record) *sarama.ProducerMessage {
	message := &sarama.ProducerMessage{
		Topic:     topic,
		Partition: record.Partition,
		Timestamp: record.Timestamp,
	}
	// A nil ByteEncoder would be written as empty; only a nil interface is null.
	if record.Key != nil {
		message.Key = sarama.ByteEncoder(record.Key)
	}
	if record.Value != nil {
		message.Value = sarama.ByteEncoder(record.Value)
	}
	for _, header := range record.Headers {
		message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
	}
	return message
}

func fromClient(message *sarama.ConsumerMessage) records.Record {
	record := records.Record{
		Partition: message.Partition,
		Offset:    message.Offset,
		Timestamp: message.Timestamp,
		Key:       message.Key,
		Value:     message.Value,
	}
	for _, header := range message.Headers {
		record.Headers = append(record.Headers, records.Header{Key: string(header.Key), Value: header.Value})
	}
	return record
}

// readFrom reads each partition to its end from the given offset, 0 where none
// is given, and compares with the records from number start on.
func readFrom(ctx context.Context, version sarama.KafkaVersion, starts map[int32]int64, start int) error {
	config := sarama.NewConfig()
	config.Version = version
	consumer, err := sarama.NewConsumer(brokers, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	var seen []records.Record
	for partition := range int32(records.Partitions) {
		if want := expected.First(partition, start).Offset; starts[partition] != want {
			return fmt.Errorf("partition %d: starts at %d, expected %d", partition, starts[partition], want)
		}
		read, err := readPartition(ctx, consumer, partition, starts[partition])
		if err != nil {
			return err
		}
		seen = append(seen, read...)
	}
	return expected.Check(seen, start)
}

func readPartition(ctx context.Context, consumer sarama.Consumer, partition int32, offset int64) ([]records.Record, error) {
	messages, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, err
	}
	defer messages.Close()
	var seen []records.Record
	for end := records.EndOffset(partition); offset < end; offset++ {
		select {
		case message, open := <-messages.Messages():
			if !open {
				return nil, fmt.Errorf("partition %d ended at offset %d", partition, offset)
			}
			seen = append(seen, fromClient(message))
		case <-ctx.Done():
			return nil, fmt.Errorf("partition %d: nothing more at offset %d: %w", partition, offset, ctx.Err())
		}
	}
	return seen, nil
}

// requireConfigs looks for the wanted settings; an empty value stands for any.
func requireConfigs(admin sarama.ClusterAdmin, kind sarama.ConfigResourceType, name string, wanted map[string]string) error {
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: kind, Name: name})
	if err != nil {
		return err
	}
	found := make(map[string]string)
	for _, entry := range entries {
		found[entry.Name] = entry.Value
	}
	for key, want := range wanted {
		if got := found[key]; got == "" || want != "" && got != want {
			return fmt.Errorf("%s: %s is %q, expected %q", name, key, got, want)
		}
	}
	return nil
}
