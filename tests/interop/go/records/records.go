// Package records holds the ten thousand records every suite writes and reads
// back, by the rule in README.md.
package records

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	Partitions = 3
	Count      = 10_000
	PerCodec   = Count / 5
	// Probe is the record whose timestamp the suites read from. It lies
	// inside a batch, so a broker that answers with the batch's first offset
	// is found out.
	Probe = 6_543
)

// Codecs are in the order of the blocks of records they compress.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

type Header struct {
	Key   string
	Value []byte
}

// Record is one record in no client's own form. A nil Key or Value is null,
// which is not the same as empty.
type Record struct {
	Partition int32
	Offset    int64
	Timestamp time.Time
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Expected are the records as one suite's topic must hold them.
type Expected struct {
	start time.Time
}

func Expect() Expected {
	return Expected{start: time.Now().Add(-time.Hour).Truncate(time.Second)}
}

func (e Expected) Record(i int) Record {
	record := Record{
		Partition: int32(i % Partitions),
		Offset:    int64(i / Partitions),
		Timestamp: e.start.Add(time.Duration(i) * 10 * time.Millisecond),
		Value:     value(i),
	}
	if i%10 != 3 {
		record.Key = []byte("key-" + strconv.Itoa(i))
	}
	if i%4 != 0 {
		record.Headers = []Header{
			{"n", []byte(strconv.Itoa(i))},
			{"dup", []byte("a")},
			{"dup", []byte("b")},
			{"empty", []byte{}},
			{"null", nil},
		}
	}
	return record
}

func value(i int) []byte {
	switch i % 10 {
	case 7:
		return nil
	case 8:
		return []byte{}
	}
	value := []byte("value-" + strconv.Itoa(i) + "-")
	for j := range i * 31 % 400 {
		value = append(value, byte(i+j))
	}
	return value
}

// CodecBlock returns the records that one codec compresses.
func (e Expected) CodecBlock(codec string) []Record {
	start := slices.Index(Codecs, codec) * PerCodec
	block := make([]Record, 0, PerCodec)
	for i := start; i < start+PerCodec; i++ {
		block = append(block, e.Record(i))
	}
	return block
}

// EndOffset is the offset after a partition's last record.
func EndOffset(partition int32) int64 {
	return int64(Count-int(partition)+Partitions-1) / Partitions
}

// First is the first record of a partition not before record number start.
func (e Expected) First(partition int32, start int) Record {
	return e.Record(firstNumber(partition, start))
}

func firstNumber(partition int32, start int) int {
	for i := start; ; i++ {
		if int32(i%Partitions) == partition {
			return i
		}
	}
}

// Check fails unless seen is every record from number start on, in order per
// partition.
func (e Expected) Check(seen []Record, start int) error {
	for partition := range int32(Partitions) {
		i := firstNumber(partition, start)
		for _, got := range seen {
			if got.Partition != partition {
				continue
			}
			if i >= Count {
				return fmt.Errorf("more records than were written: %v", got)
			}
			if want := e.Record(i); !equal(got, want) {
				return fmt.Errorf("read %v, expected %v", got, want)
			}
			i += Partitions
		}
		if i < Count {
			return fmt.Errorf("partition %d ends before record %d", partition, i)
		}
	}
	return nil
}

func equal(a, b Record) bool {
	return a.Partition == b.Partition && a.Offset == b.Offset && a.Timestamp.Equal(b.Timestamp) &&
		same(a.Key, b.Key) && same(a.Value, b.Value) &&
		slices.EqualFunc(a.Headers, b.Headers, func(a, b Header) bool {
			return a.Key == b.Key && same(a.Value, b.Value)
		})
}

func same(a, b []byte) bool {
	return bytes.Equal(a, b) && (a == nil) == (b == nil)
}
