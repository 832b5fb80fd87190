package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

const logTimeout = 10 * time.Minute

// Reader is what is trusted and asked.
type Reader struct {
	Trusted map[string]bool   // vkeys; empty: whatever the list says
	Policy  string            // text of a tlog-policy, or empty
	Before  map[string]string // notes of earlier checkpoints, by log
	Proofs  int
}

// Listed is one log of the list.
type Listed struct{ Name, Origin, VKey, URL string }

// LogReport says what was verified of a log.
type LogReport struct {
	Name       string   `json:"name"`
	Origin     string   `json:"origin"`
	Size       int64    `json:"size"`
	Root       string   `json:"root"`
	Entries    int64    `json:"entries"`    // read from bundles, hashed to the root
	Tiles      int      `json:"tiles"`      // hash tiles, equal to those made of the entries
	Proofs     int      `json:"proofs"`     // inclusion proofs made from tiles
	Consistent []int64  `json:"consistent"` // earlier sizes that it is consistent with
	Signers    []string `json:"signers"`    // whose signatures of the checkpoint hold
	Failure    string   `json:"failure,omitempty"`
}

// Report is that of all logs.
type Report struct {
	Logs    []*LogReport `json:"logs"`
	Failure string       `json:"failure,omitempty"`
	notes   map[string]string
}

func (r *Report) failed() bool {
	failed := r.Failure != "" || len(r.Logs) == 0
	for _, log := range r.Logs {
		failed = failed || log.Failure != ""
	}
	return failed
}

func (r *Reader) readAll(base string) *Report {
	report := &Report{Logs: []*LogReport{}, notes: map[string]string{}}
	listed, err := list(base)
	if err != nil {
		report.Failure = err.Error()
		return report
	}
	for _, each := range listed {
		log := &LogReport{Name: each.Name, Origin: each.Origin, Consistent: []int64{}}
		report.Logs = append(report.Logs, log)
		note, err := r.readLog(each, log)
		if err != nil {
			log.Failure = err.Error()
			continue
		}
		report.notes[each.Name] = string(note)
	}
	for name := range r.Before {
		if _, found := report.notes[name]; !found && report.Failure == "" {
			report.Failure = fmt.Sprintf("the log %q was there before", name)
		}
	}
	return report
}

func list(base string) ([]Listed, error) {
	response, err := http.Get(base)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s %v", base, response.Status, err)
	}
	listed := []Listed{}
	if err := json.Unmarshal(body, &listed); err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	root, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	for n := range listed {
		below, err := root.Parse(listed[n].URL)
		if err != nil {
			return nil, err
		}
		listed[n].URL = below.String()
	}
	return listed, nil
}

// readLog verifies one log from its checkpoint down to every entry, and returns the checkpoint's note.
func (r *Reader) readLog(listed Listed, report *LogReport) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), logTimeout)
	defer cancel()
	if len(r.Trusted) > 0 && !r.Trusted[listed.VKey] {
		return nil, fmt.Errorf("the key %s is not trusted", listed.VKey)
	}
	policy, err := policyFor(r.Policy, listed.VKey)
	if err != nil {
		return nil, err
	}
	tiles, err := torchwood.NewTileFetcher(listed.URL, torchwood.WithConcurrencyLimit(8))
	if err != nil {
		return nil, err
	}
	note, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return nil, err
	}
	checkpoint, opened, err := torchwood.VerifyCheckpoint(note, policy)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if checkpoint.Origin != listed.Origin {
		return nil, fmt.Errorf("the checkpoint is of %q", checkpoint.Origin)
	}
	report.Size, report.Root = checkpoint.N, hex.EncodeToString(checkpoint.Hash[:])
	for _, signature := range opened.Sigs {
		report.Signers = append(report.Signers, signature.Name)
	}
	steps := []func(context.Context, *LogReport, *torchwood.TileFetcher, tlog.Tree) error{
		readEntries, r.proveSome, r.compareBefore(listed.Name, policy),
	}
	for _, step := range steps {
		if err := step(ctx, report, tiles, checkpoint.Tree); err != nil {
			return nil, err
		}
	}
	return note, nil
}

// readEntries reads every entry, which torchwood checks against the hash tiles and these against the root; hashes them
// to the root a second time, as transparency-dev does; and compares every tile with the one made of the entries.
func readEntries(ctx context.Context, report *LogReport, tiles *torchwood.TileFetcher, tree tlog.Tree) error {
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return err
	}
	hasher := rfc6962.DefaultHasher
	factory := compact.RangeFactory{Hash: hasher.HashChildren}
	all := factory.NewEmptyRange(0)
	stored := hashes{}
	for index, entry := range client.AllEntries(ctx, tree, 0) {
		if err := all.Append(hasher.HashLeaf(entry), nil); err != nil {
			return err
		}
		more, err := tlog.StoredHashes(index, entry, &stored)
		if err != nil {
			return err
		}
		stored = append(stored, more...)
		report.Entries++
	}
	if err := client.Err(); err != nil {
		return fmt.Errorf("entries: %w", err)
	}
	root := hasher.EmptyRoot()
	if tree.N > 0 {
		if root, err = all.GetRootHash(nil); err != nil {
			return err
		}
	}
	if report.Entries != tree.N || !bytes.Equal(root, tree.Hash[:]) {
		return fmt.Errorf("%d entries hash to %x", report.Entries, root)
	}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, tree.N) {
		expected, err := tlog.ReadTileData(tile, &stored)
		if err != nil {
			return err
		}
		data, err := tiles.ReadEndpoint(ctx, torchwood.TilePath(tile))
		if err != nil {
			return err
		}
		if !bytes.Equal(data, expected) {
			return fmt.Errorf("%s is not what the entries give", torchwood.TilePath(tile))
		}
		report.Tiles++
	}
	return nil
}

// hashes are a tree's stored hashes, in tlog's order.
type hashes []tlog.Hash

func (h *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for n, index := range indexes {
		found[n] = (*h)[index]
	}
	return found, nil
}

// proveSome reads random entries with their inclusion proofs from tiles; torchwood checks them, then transparency-dev.
func (r *Reader) proveSome(ctx context.Context, report *LogReport, tiles *torchwood.TileFetcher, tree tlog.Tree) error {
	client, err := torchwood.NewClient(&cache{tiles, map[tlog.Tile][]byte{}})
	if err != nil {
		return err
	}
	for range r.Proofs {
		if tree.N == 0 {
			return nil
		}
		index := rand.Int64N(tree.N)
		entry, hashes, err := client.Entry(ctx, tree, index)
		if err != nil {
			return err
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(entry)
		if err := proof.VerifyInclusion(
			rfc6962.DefaultHasher, uint64(index), uint64(tree.N), leaf, list32(hashes), tree.Hash[:]); err != nil {
			return fmt.Errorf("inclusion of %d: %w", index, err)
		}
		report.Proofs++
	}
	return nil
}

// cache fetches each tile once.
type cache struct {
	torchwood.TileReader
	fetched map[tlog.Tile][]byte
}

func (c *cache) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for n, tile := range tiles {
		if c.fetched[tile] == nil {
			read, err := c.TileReader.ReadTiles(ctx, []tlog.Tile{tile})
			if err != nil {
				return nil, err
			}
			c.fetched[tile] = read[0]
		}
		data[n] = c.fetched[tile]
	}
	return data, nil
}

// compareBefore makes the step that proves, from tiles, that the log has only grown since an earlier checkpoint.
func (r *Reader) compareBefore(
	name string, policy torchwood.Policy,
) func(context.Context, *LogReport, *torchwood.TileFetcher, tlog.Tree) error {
	return func(ctx context.Context, report *LogReport, tiles *torchwood.TileFetcher, tree tlog.Tree) error {
		note, found := r.Before[name]
		if !found {
			return nil
		}
		old, _, err := torchwood.VerifyCheckpoint([]byte(note), policy)
		if err != nil {
			return fmt.Errorf("earlier checkpoint: %w", err)
		}
		if old.N > tree.N {
			return fmt.Errorf("the log had %d entries before", old.N)
		}
		if old.N > 0 {
			hashes, err := tlog.ProveTree(tree.N, old.N, torchwood.TileHashReaderWithContext(ctx, tree, tiles))
			if err != nil {
				return fmt.Errorf("consistency: %w", err)
			}
			if err := tlog.CheckTree(hashes, tree.N, tree.Hash, old.N, old.Hash); err != nil {
				return fmt.Errorf("consistency with %d: %w", old.N, err)
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(old.N), uint64(tree.N),
				list32(hashes), old.Hash[:], tree.Hash[:]); err != nil {
				return fmt.Errorf("consistency with %d: %w", old.N, err)
			}
		}
		report.Consistent = append(report.Consistent, old.N)
		return nil
	}
}

func list32(hashes []tlog.Hash) [][]byte {
	list := make([][]byte, len(hashes))
	for n := range hashes {
		list[n] = hashes[n][:]
	}
	return list
}
