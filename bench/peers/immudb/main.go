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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	clients  = flag.String("clients", "", "then read with so many clients, numbers with commas between")
	seconds  = flag.Int("seconds", 10, "how long those read")
	syncMs   = flag.Int64("sync-ms", 20, "how often the server syncs, in milliseconds")
)

// Figures are what is printed.
type Figures struct {
	AppendPerS       float64 `json:"append_per_s"`
	SinglePerS       float64 `json:"append_one_at_a_time_per_s"`
	VerifiedReadPerS float64 `json:"verified_reads_by_key_per_s"`
	Reads            []Reads `json:"reads_by_clients,omitempty"`
}

// Reads is what so many clients read, one value after the other each.
type Reads struct {
	Clients int     `json:"clients"`
	Count   int     `json:"count"`
	PerS    float64 `json:"per_s"`
	P50Ms   float64 `json:"p50_ms"`
	P99Ms   float64 `json:"p99_ms"`
}

func main() {
	flag.Parse()
	if *dir == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx := context.Background()
	name := create(ctx)
	immudb := session(ctx, name, *dir)
	values := random(*entries + *singles)
	figures := Figures{}
	figures.AppendPerS = perS(*entries, func() error { return setAll(ctx, immudb, values[:*entries]) })
	figures.SinglePerS = perS(*singles, func() error { return setEach(ctx, immudb, values[*entries:]) })
	figures.VerifiedReadPerS = perS(*reads, func() error { return read(ctx, immudb) })
	must(immudb.CloseSession(ctx))
	for _, count := range strings.FieldsFunc(*clients, func(r rune) bool { return r == ',' }) {
		count, err := strconv.Atoi(count)
		must(err)
		figures.Reads = append(figures.Reads, readBy(ctx, name, count))
	}
	must(json.NewEncoder(os.Stdout).Encode(figures))
}

// create makes a database and gives its name. By default a database takes 30 requests at once and no more.
func create(ctx context.Context) string {
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
	return name
}

// session opens a session of a client that keeps its state in a folder of its own.
func session(ctx context.Context, name, folder string) client.ImmuClient {
	must(os.MkdirAll(folder, 0o700))
	immudb := client.NewClient().WithOptions(client.DefaultOptions().WithDir(folder).WithPort(*port))
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

// readBy lets clients read random values for some time. What they do in the first fifth more does not count.
func readBy(ctx context.Context, name string, count int) Reads {
	group, ctx := errgroup.WithContext(ctx)
	taken := make([][]time.Duration, count)
	sessions := make([]client.ImmuClient, count)
	for n := range sessions {
		sessions[n] = session(ctx, name, filepath.Join(*dir, fmt.Sprintf("%d-of-%d", n, count)))
	}
	counted := time.Now().Add(time.Duration(*seconds) * time.Second / 5)
	end := counted.Add(time.Duration(*seconds) * time.Second)
	for n := range sessions {
		group.Go(func() error {
			for begun := time.Now(); begun.Before(end); begun = time.Now() {
				if _, err := sessions[n].VerifiedGet(ctx, key(insecure.IntN(*entries))); err != nil {
					return err
				}
				if begun.After(counted) {
					taken[n] = append(taken[n], time.Since(begun))
				}
			}
			return sessions[n].CloseSession(ctx)
		})
	}
	must(group.Wait())
	all := slices.Concat(taken...)
	slices.Sort(all)
	at := func(share float64) float64 {
		return all[int(share*float64(len(all)-1))].Seconds() * 1000
	}
	return Reads{count, len(all), float64(len(all)) / float64(*seconds), at(0.50), at(0.99)}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
