// Command reader reads logs over HTTP as any C2SP client would and verifies all of them, and proof files, with no code
// of goodstrace: golang.org/x/mod/sumdb, github.com/transparency-dev/merkle and filippo.io/torchwood only.
//
//	reader logs   -url BASE [-keys FILE] [-policy FILE] [-before FILE] [-save FILE] [-proofs N]
//	reader proof  -policy FILE [-entry FILE] PROOF
//
// Both print a report as JSON; the exit status is 1 where something did not verify.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	var failed bool
	switch command := os.Args[1]; command {
	case "logs":
		failed = logsCommand(os.Args[2:])
	case "proof":
		failed = proofCommand(os.Args[2:])
	default:
		usage()
	}
	if failed {
		os.Exit(1)
	}
}

func logsCommand(arguments []string) bool {
	flags := flag.NewFlagSet("logs", flag.ExitOnError)
	base := flags.String("url", "", "address of the list of logs")
	keys := flags.String("keys", "", "file of trusted vkeys, one a line: every log's must be one of them")
	policy := flags.String("policy", "", "tlog-policy file: its quorum of witnesses must have cosigned each checkpoint")
	before := flags.String("before", "", "file that -save wrote earlier: each log must be consistent with it")
	save := flags.String("save", "", "write the checkpoints here, by log")
	proofs := flags.Int("proofs", 200, "how many random inclusion proofs to check in each log")
	must(flags.Parse(arguments))
	if *base == "" || flags.NArg() != 0 {
		usage()
	}
	reader := &Reader{Trusted: readLines(*keys), Policy: readText(*policy), Before: readNotes(*before), Proofs: *proofs}
	report := reader.readAll(*base)
	if *save != "" {
		must(os.WriteFile(*save, encoded(report.notes), 0o600))
	}
	fmt.Println(string(encoded(report)))
	return report.failed()
}

func encoded(value any) []byte {
	data, err := json.MarshalIndent(value, "", " ")
	must(err)
	return data
}

func readText(path string) string {
	if path == "" {
		return ""
	}
	data, err := os.ReadFile(path)
	must(err)
	return string(data)
}

func readNotes(path string) map[string]string {
	notes := map[string]string{}
	if path != "" {
		must(json.Unmarshal([]byte(readText(path)), &notes))
	}
	return notes
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: reader logs -url BASE [flags] | reader proof -policy FILE [-entry FILE] PROOF")
	os.Exit(2)
}
