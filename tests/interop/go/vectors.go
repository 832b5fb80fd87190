package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type object = map[string]any

// store makes tlog's stored hashes of a tree, kept in memory.
func store(leaves [][]byte) tlog.HashReader {
	stored := []tlog.Hash{}
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := []tlog.Hash{}
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	for n, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(n), leaf, reader)
		must(err)
		stored = append(stored, hashes...)
	}
	return reader
}

// tilePath is C2SP's path of a tile: tlog's, but without the height, which is always 8.
func tilePath(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

func merkleVectors() object {
	small := [][]byte{}
	for _, leaf := range strings.Split(
		" 00 10 2021 3031 40414243 5051525354555657 606162636465666768696a6b6c6d6e6f", " ") {
		small = append(small, unhex(leaf))
	}
	trees := []object{}
	for size := int64(1); size <= int64(len(small)); size++ {
		everything := make([]int64, size)
		for n := range everything {
			everything[n] = int64(n)
		}
		tree := vectorsOf(store(small), size, 0, everything)
		tree["leaves"] = hexes(small[:size])
		trees = append(trees, tree)
	}
	large := make([][]byte, 70000)
	for n := range large {
		large[n] = []byte(fmt.Sprintf("leaf %d", n))
	}
	stored := store(large)
	for _, sizes := range [][2]int64{{0, 255}, {255, 256}, {256, 257}, {257, 600}, {65000, 65536}, {69900, 70000}} {
		trees = append(trees, vectorsOf(stored, sizes[1], sizes[0], []int64{0, 1, 127, 255, 256, 511, 65535, 65536, sizes[1] - 1}))
	}
	paths := []object{}
	for _, tile := range []tlog.Tile{
		{L: 0, N: 0, W: 256}, {L: 1, N: 999, W: 1}, {L: 2, N: 1000, W: 255}, {L: 0, N: 1234067, W: 256},
		{L: 0, N: 1234067, W: 12}, {L: 3, N: 1000000, W: 7}, {L: 63, N: 36028797018963967, W: 256},
	} {
		tile.H = tileHeight
		paths = append(paths, object{"level": tile.L, "n": tile.N, "width": tile.W, "path": tilePath(tile)})
	}
	return object{
		"about": "RFC 6962 trees and C2SP tiles. A tree has the leaves listed, or else the texts 'leaf 0', 'leaf 1', ... " +
			"Hashes are in hex. tiles: SHA-256 of the tiles that change between tiles_from_size and size.",
		"made_by": madeBy(),
		"paths":   paths,
		"trees":   trees,
	}
}

func vectorsOf(stored tlog.HashReader, size, tilesFrom int64, positions []int64) object {
	root, err := tlog.TreeHash(size, stored)
	must(err)
	inclusion, consistency, tiles := []object{}, []object{}, object{}
	for _, n := range positions {
		if n >= size {
			continue
		}
		record, err := tlog.ProveRecord(size, n, stored)
		must(err)
		inclusion = append(inclusion, object{"index": n, "proof": hexes(toBytes(record))})
		old, err := tlog.TreeHash(n+1, stored)
		must(err)
		tree, err := tlog.ProveTree(size, n+1, stored)
		must(err)
		consistency = append(consistency, object{
			"old_size": n + 1, "old_root": hex.EncodeToString(old[:]), "proof": hexes(toBytes(tree))})
	}
	for _, tile := range tlog.NewTiles(tileHeight, tilesFrom, size) {
		data, err := tlog.ReadTileData(tile, stored)
		must(err)
		digest := sha256.Sum256(data)
		tiles[tilePath(tile)] = hex.EncodeToString(digest[:])
	}
	return object{
		"size": size, "root": hex.EncodeToString(root[:]), "inclusion": inclusion, "consistency": consistency,
		"tiles_from_size": tilesFrom, "tiles": tiles,
	}
}

func hexes(list [][]byte) []string {
	texts := []string{}
	for _, data := range list {
		texts = append(texts, hex.EncodeToString(data))
	}
	return texts
}

type key struct {
	name, seed, vkey string
	signer           note.Signer
}

// newKey makes the key whose seed is the SHA-256 of its name: of use in tests only.
func newKey(name string) key {
	seed := sha256.Sum256([]byte(name))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(name, public)
	must(err)
	id := vkey[len(name)+1:][:8]
	secret := base64.StdEncoding.EncodeToString(append([]byte{1}, seed[:]...))
	signer, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + id + "+" + secret)
	must(err)
	return key{name, hex.EncodeToString(seed[:]), vkey, signer}
}

func noteVectors() object {
	ledger, witness, other := newKey("example.com/7f3a/goods/0"), newKey("witness.example/größe"), newKey("other.example")
	keys := []object{}
	for _, k := range []key{ledger, witness, other} {
		keys = append(keys, object{"name": k.name, "seed": k.seed, "vkey": k.vkey})
	}
	notes := []object{}
	for _, text := range []string{"one line\n", "\n", "with\n\nempty lines\n\n", "Größe 名前\u00a0\x7f\n", "— not a signature\n"} {
		for _, signers := range [][]key{{ledger}, {witness, ledger}} {
			notes = append(notes, object{
				"note": sign(text, signers...), "text": text, "vkeys": vkeys(signers), "known": []string{ledger.vkey}})
		}
	}
	checkpoints := []object{}
	for _, size := range []uint64{0, 1, 20852163, 1<<63 - 1} {
		root := sha256.Sum256([]byte(strings.Repeat("x", int(min(size, 1)))))
		text := log.Checkpoint{Origin: ledger.name, Size: size, Hash: root[:]}.Marshal()
		checkpoints = append(checkpoints, object{
			"note": sign(string(text), ledger), "vkey": ledger.vkey, "origin": ledger.name, "size": fmt.Sprint(size),
			"root": hex.EncodeToString(root[:])})
	}
	return object{
		"about": "C2SP signed notes and checkpoints. A key's seed is the SHA-256 of its name. notes: the vkeys are those of " +
			"the signers, in order; the note opens with them and with the known one alone. refused: must not open with the vkeys.",
		"made_by": madeBy(), "keys": keys, "notes": notes, "checkpoints": checkpoints, "refused": refused(ledger, other),
	}
}

// refused lists notes that note.Open refuses with the given keys; it fails if one is not refused.
func refused(ledger, other key) []object {
	good := sign("text\n", ledger)
	line := strings.TrimPrefix(good, "text\n\n")
	encoded := strings.TrimSuffix(strings.Fields(line)[2], "\n")
	cases := []object{}
	for _, c := range [][2]string{
		{"empty", ""},
		{"no signature", "text\n\n"},
		{"no empty line", "text\n" + line},
		{"no final newline", strings.TrimSuffix(good, "\n")},
		{"text changed", "tExt\n\n" + line},
		{"line added to the text", "text\nmore\n\n" + line},
		{"only an unknown key", sign("text\n", other)},
		{"a wrong signature beside a right one", strings.Replace(sign("tExt\n", ledger), "tExt", "text", 1) + line},
		{"carriage returns", strings.ReplaceAll(good, "\n", "\r\n")},
		{"control character", "te\x1fxt\n\n" + line},
		{"hyphen for the em dash", strings.Replace(good, "— ", "- ", 1)},
		{"no name", "text\n\n— " + encoded + "\n"},
		{"plus in the name", strings.Replace(good, ledger.name, "a+b", 1)},
		{"Unicode space in the name", strings.Replace(good, ledger.name, "a\u2003b", 1)},
		{"signature of four bytes", "text\n\n— " + ledger.name + " " + encoded[:5] + "A==\n"},
		{"malformed base64", strings.Replace(good, "=\n", "\n", 1)},
		{"space after the signature", strings.Replace(good, "=\n", "= \n", 1)},
		{"a line after the signatures", good + "more\n"},
		{"101 signatures", "text\n\n" + strings.Repeat(line, 101)},
	} {
		if _, err := note.Open([]byte(c[1]), note.VerifierList(verifiers([]string{ledger.vkey})...)); err == nil {
			fail("not refused: " + c[0])
		}
		cases = append(cases, object{"why": c[0], "note": c[1], "vkeys": []string{ledger.vkey}})
	}
	return cases
}

func sign(text string, keys ...key) string {
	signers := []note.Signer{}
	for _, k := range keys {
		signers = append(signers, k.signer)
	}
	message, err := note.Sign(&note.Note{Text: text}, signers...)
	must(err)
	return string(message)
}

func vkeys(keys []key) []string {
	list := []string{}
	for _, k := range keys {
		list = append(list, k.vkey)
	}
	return list
}
