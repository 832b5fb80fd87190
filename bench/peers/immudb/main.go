// Command immudb measures immudb's server, a process of its own, through its client: values set in batches and one at a
// time, and verified reads.
//
// The server is that of the same module, as it comes: each transaction is on disk when it is acknowledged. Its syncs
// are shared by the transactions that wait, so several requests are kept under way. A read is a VerifiedGet of a random
// key, which checks inclusion and consistency with the client's last state; one client, one read at a time.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	insecure "math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	"github.com/codenotary/immudb/pkg/client"
	"golang.org/x/sync/errgroup"
)

var (
	dir      = flag.String("dir", "", "folder for the client's state")
	port     = flag.Int("port", 3322, "the server's port on 127.0.0.1")
	entries  = flag.Int("entries", 100000, "how many entries to set in batches")
	singles  = flag.Int("singles", 10000, "how many entries to set one at a time")
	size     = flag.Int("size", 500, "bytes of a value")
	reads    = flag.Int("reads", 2000, "how many verified reads")
	batch    = flag.Int("batch", 256, "entries of a batch")
	inFlight = flag.Int("in-flight", 32, "batches under way at most")
	alone    = flag.Int("in-flight-singles", 512, "single entries under way at most")
	syncMs   = flag.Int64("sync-ms", 20, "how often the server syncs, in milliseconds")
)

// Figures are what is printed.
type Figures struct {
	AppendPerS       float64 `json:"append_per_s"`
	SinglePerS       float64 `json:"append_one_at_a_time_per_s"`
	VerifiedReadPerS float64 `json:"verified_reads_by_key_per_s"`
}

func main() {
	flag.Parse()
	if *dir == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx := context.Background()
	immudb := open(ctx)
	values := random(*entries + *singles)
	figures := Figures{}
	figures.AppendPerS = perS(*entries, func() error { return setAll(ctx, immudb, values[:*entries]) })
	figures.SinglePerS = perS(*singles, func() error { return setEach(ctx, immudb, values[*entries:]) })
	figures.VerifiedReadPerS = perS(*reads, func() error { return read(ctx, immudb) })
	must(immudb.CloseSession(ctx))
	must(json.NewEncoder(os.Stdout).Encode(figures))
}

// open makes a database and opens a session with it. By default a database takes 30 requests at once and no more.
func open(ctx context.Context) client.ImmuClient {
	options := client.DefaultOptions().WithDir(*dir).WithPort(*port)
	name := fmt.Sprintf("bench%d", time.Now().UnixNano())
	admin := client.NewClient().WithOptions(options)
	must(admin.OpenSession(ctx, []byte("immudb"), []byte("immudb"), "defaultdb"))
	_, err := admin.CreateDatabaseV2(ctx, name, &schema.DatabaseNullableSettings{
		MaxConcurrency: &schema.NullableUint32{Value: uint32(2 * max(*inFlight, *alone))},
		SyncFrequency:  &schema.NullableMilliseconds{Value: *syncMs},
	})
	must(err)
	must(admin.CloseSession(ctx))
	immudb := client.NewClient().WithOptions(options)
	must(immudb.OpenSession(ctx, []byte("immudb"), []byte("immudb"), name))
	return immudb
}

func perS(count int, work func() error) float64 {
	begun := time.Now()
	must(work())
	return float64(count) / time.Since(begun).Seconds()
}

func random(count int) [][]byte {
	source := insecure.NewChaCha8([32]byte{})
	values := make([][]byte, count)
	for n := range values {
		values[n] = make([]byte, *size)
		source.Read(values[n])
	}
	return values
}

// key is that of the nth entry.
func key(n int) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n))
}

func setAll(ctx context.Context, immudb client.ImmuClient, values [][]byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(*inFlight)
	for start := 0; start < len(values); start += *batch {
		group.Go(func() error {
			request := &schema.SetRequest{}
			for n := start; n < min(start+*batch, len(values)); n++ {
				request.KVs = append(request.KVs, &schema.KeyValue{Key: key(n), Value: values[n]})
			}
			_, err := immudb.SetAll(ctx, request)
			return err
		})
	}
	return group.Wait()
}

func setEach(ctx context.Context, immudb client.ImmuClient, values [][]byte) error {
	group, ctx := errgroup.WithContext(ctx)
	next := atomic.Int64{}
	for range *alone {
		group.Go(func() error {
			for n := int(next.Add(1) - 1); n < len(values); n = int(next.Add(1) - 1) {
				if _, err := immudb.Set(ctx, key(*entries+n), values[n]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func read(ctx context.Context, immudb client.ImmuClient) error {
	for range *reads {
		if _, err := immudb.VerifiedGet(ctx, key(insecure.IntN(*entries))); err != nil {
			return err
		}
	}
	return nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
