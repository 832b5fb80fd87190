package main

import (
	"bytes"
	"fmt"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Cases is what goodstrace made. Bytes are in hex.
type Cases struct {
	Trees       []Tree
	Notes       []Note
	Checkpoints []Checkpoint
	Cosigned    []Cosigned
}

// Tree is a tree with proofs from it; a proof marked Bad must be refused.
type Tree struct {
	Leaves    []string
	Root      string
	Inclusion []struct {
		Index int64
		Leaf  string // leaf hash
		Proof []string
		Bad   bool
	}
	Consistency []struct {
		OldSize int64  `json:"old_size"`
		OldRoot string `json:"old_root"`
		Proof   []string
		Bad     bool
	}
	Tiles map[string]string // every tile of the tree, by path
}

// Note is a signed note, to be opened with all the keys.
type Note struct {
	Note  string
	VKeys []string
	Text  string
}

// Checkpoint is a signed checkpoint.
type Checkpoint struct {
	Note   string
	VKey   string
	Origin string
	Size   uint64
	Root   string
}

// Report says how many cases were checked and which of them disagree.
type Report struct {
	Checked  int      `json:"checked"`
	Failures []string `json:"failures"`
}

func (r *Report) expect(ok bool, format string, arguments ...any) {
	r.Checked++
	if !ok {
		r.Failures = append(r.Failures, fmt.Sprintf(format, arguments...))
	}
}

func check(cases Cases) *Report {
	report := &Report{Failures: []string{}}
	for _, tree := range cases.Trees {
		checkTree(report, tree)
	}
	for _, c := range cases.Notes {
		opened, err := note.Open([]byte(c.Note), note.VerifierList(verifiers(c.VKeys)...))
		report.expect(err == nil && opened.Text == c.Text && len(opened.Sigs) == len(c.VKeys), "note %q: %v", c.Note, err)
	}
	for _, c := range cases.Cosigned {
		checkCosigned(report, c)
	}
	for _, c := range cases.Checkpoints {
		checkpoint, rest, _, err := log.ParseCheckpoint([]byte(c.Note), c.Origin, verifiers([]string{c.VKey})[0])
		report.expect(err == nil && len(rest) == 0 && checkpoint.Size == c.Size && bytes.Equal(checkpoint.Hash, unhex(c.Root)),
			"checkpoint %q: %v", c.Note, err)
	}
	return report
}

func checkTree(report *Report, tree Tree) {
	leaves := [][]byte{}
	for _, leaf := range tree.Leaves {
		leaves = append(leaves, unhex(leaf))
	}
	size := int64(len(leaves))
	stored := store(leaves)
	root, err := tlog.TreeHash(size, stored)
	must(err)
	report.expect(bytes.Equal(root[:], unhex(tree.Root)), "root of size %d", size)
	for _, c := range tree.Inclusion {
		leaf, hashes := toHash(c.Leaf), toHashes(c.Proof)
		err := tlog.CheckRecord(hashes, size, root, c.Index, leaf)
		report.expect((err != nil) == c.Bad, "inclusion of %d in %d, tlog: %v", c.Index, size, err)
		err = proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(c.Index), uint64(size), leaf[:], toBytes(hashes), root[:])
		report.expect((err != nil) == c.Bad, "inclusion of %d in %d, merkle: %v", c.Index, size, err)
	}
	for _, c := range tree.Consistency {
		old, hashes := toHash(c.OldRoot), toHashes(c.Proof)
		err := tlog.CheckTree(hashes, size, root, c.OldSize, old)
		report.expect((err != nil) == c.Bad, "consistency of %d with %d, tlog: %v", c.OldSize, size, err)
		err = proof.VerifyConsistency(
			rfc6962.DefaultHasher, uint64(c.OldSize), uint64(size), toBytes(hashes), old[:], root[:])
		report.expect((err != nil) == c.Bad, "consistency of %d with %d, merkle: %v", c.OldSize, size, err)
	}
	tiles := tlog.NewTiles(tileHeight, 0, size)
	report.expect(len(tiles) == len(tree.Tiles), "number of tiles at size %d", size)
	for _, tile := range tiles {
		data, err := tlog.ReadTileData(tile, stored)
		must(err)
		report.expect(bytes.Equal(data, unhex(tree.Tiles[tilePath(tile)])), "tile %s at size %d", tilePath(tile), size)
	}
}

func verifiers(vkeys []string) []note.Verifier {
	list := []note.Verifier{}
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		must(err)
		list = append(list, verifier)
	}
	return list
}

func toHash(text string) (hash tlog.Hash) {
	if copy(hash[:], unhex(text)) != len(hash) {
		fail("a hash is not 32 bytes")
	}
	return hash
}

func toHashes(texts []string) []tlog.Hash {
	hashes := []tlog.Hash{}
	for _, text := range texts {
		hashes = append(hashes, toHash(text))
	}
	return hashes
}

func toBytes(hashes []tlog.Hash) [][]byte {
	list := [][]byte{}
	for _, hash := range hashes {
		list = append(list, hash[:])
	}
	return list
}
