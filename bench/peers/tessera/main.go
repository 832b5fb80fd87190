// Command tessera measures Tessera's POSIX log in process: entries appended durably, and verified reads.
//
// An append ends when a published checkpoint covers the entry. A read fetches a random entry's bundle and the tiles of
// its inclusion proof from the files, and verifies the proof up to the checkpoint; one reader, one read at a time.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	insecure "math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	badger "github.com/transparency-dev/tessera/storage/posix/antispam"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"
)

const origin = "bench.example/log"

var (
	dir      = flag.String("dir", "", "empty folder for the log")
	entries  = flag.Int("entries", 100000, "how many entries to append")
	size     = flag.Int("size", 500, "bytes of an entry")
	reads    = flag.Int("reads", 2000, "how many verified reads")
	dedup    = flag.Bool("dedup", false, "with the persistent antispam, which refuses duplicates")
	batch    = flag.Uint("batch", 4096, "entries of a batch at most")
	inFlight = flag.Int("in-flight", 16384, "entries that are not durable yet at most")
	lag      = flag.Uint("lag", 16384, "entries by which the antispam may lag before it pushes back")
)

// Figures are what is printed.
type Figures struct {
	AppendPerS       float64 `json:"append_per_s"`
	VerifiedReadPerS float64 `json:"verified_reads_per_s"`
}

func main() {
	flag.Parse()
	if *dir == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx := context.Background()
	log, err := open(ctx)
	must(err)
	appended, err := log.append(ctx)
	must(err)
	read, err := log.read(ctx)
	must(err)
	must(log.shutdown(ctx))
	must(json.NewEncoder(os.Stdout).Encode(Figures{
		float64(*entries) / appended.Seconds(), float64(*reads) / read.Seconds()}))
}

type openLog struct {
	appender *tessera.Appender
	shutdown func(context.Context) error
	reader   tessera.LogReader
	verifier note.Verifier
}

func open(ctx context.Context) (*openLog, error) {
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: filepath.Join(*dir, "log")})
	if err != nil {
		return nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(*batch, 50*time.Millisecond).
		WithPushback(uint(*inFlight) + 1)
	if *dedup {
		seen, err := badger.NewAntispam(ctx, filepath.Join(*dir, "seen"), badger.AntispamOpts{PushbackThreshold: *lag})
		if err != nil {
			return nil, err
		}
		options = options.WithAntispam(tessera.DefaultAntispamInMemorySize, seen)
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	return &openLog{appender, shutdown, reader, verifier}, err
}

// append adds all entries, a bounded number of them at a time, and waits until a checkpoint covers the last.
func (l *openLog) append(ctx context.Context) (time.Duration, error) {
	source := insecure.NewChaCha8([32]byte{})
	data := make([][]byte, *entries)
	for n := range data {
		data[n] = make([]byte, *size)
		source.Read(data[n])
	}
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	next := atomic.Int64{}
	for range *inFlight {
		group.Go(func() error {
			for n := int(next.Add(1) - 1); n < len(data); n = int(next.Add(1) - 1) {
				if err := l.add(ctx, data[n]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	last := tessera.Index{Index: uint64(len(data) - 1)}
	awaiter := tessera.NewPublicationAwaiter(context.Background(), l.reader.ReadCheckpoint, 10*time.Millisecond)
	_, _, err := awaiter.Await(context.Background(), func() (tessera.Index, error) { return last, nil })
	return time.Since(begun), err
}

// add returns when an entry is integrated; one that was pushed back, as the antispam does when it lags, is added again.
func (l *openLog) add(ctx context.Context, entry []byte) error {
	for {
		_, err := l.appender.Add(ctx, tessera.NewEntry(entry))()
		if !errors.Is(err, tessera.ErrPushback) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *openLog) read(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, l.reader.ReadCheckpoint, l.verifier, origin)
	if err != nil {
		return 0, err
	}
	if checkpoint.Size != uint64(*entries) {
		return 0, fmt.Errorf("the log has %d entries", checkpoint.Size)
	}
	proofs, err := client.NewProofBuilder(ctx, checkpoint.Size, l.reader.ReadTile)
	if err != nil {
		return 0, err
	}
	for range *reads {
		index := insecure.Uint64N(checkpoint.Size)
		bundle, err := client.GetEntryBundle(ctx, l.reader.ReadEntryBundle, index/256, checkpoint.Size)
		if err != nil {
			return 0, err
		}
		hashes, err := proofs.InclusionProof(ctx, index)
		if err != nil {
			return 0, err
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(bundle.Entries[index%256])
		if err := proof.VerifyInclusion(
			rfc6962.DefaultHasher, index, checkpoint.Size, leaf, hashes, checkpoint.Hash); err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
