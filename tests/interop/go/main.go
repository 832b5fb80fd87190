// Command interop compares goodstrace's Merkle core with implementations made elsewhere: golang.org/x/mod/sumdb and
// github.com/transparency-dev.
//
//	interop check          reads cases made by goodstrace from stdin, prints how many it checked and what was wrong
//	interop merkle|notes|cosignatures   prints the file of that name in tests/vectors
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

const tileHeight = 8

func main() {
	if len(os.Args) != 2 {
		fail("usage: interop check|merkle|notes|cosignatures")
	}
	switch os.Args[1] {
	case "check":
		var cases Cases
		if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
			fail(err.Error())
		}
		print(check(cases))
	case "merkle":
		print(merkleVectors())
	case "notes":
		print(noteVectors())
	case "cosignatures":
		print(cosignatureVectors())
	default:
		fail("unknown command " + os.Args[1])
	}
}

// madeBy names the modules that this program was built with, and their versions.
func madeBy() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		fail("no build information")
	}
	names := []string{}
	for _, module := range info.Deps {
		names = append(names, module.Path+" "+module.Version)
	}
	return names
}

func print(value any) {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	must(encoder.Encode(value))
}

func unhex(text string) []byte {
	data, err := hex.DecodeString(text)
	must(err)
	return data
}

func must(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
