package main

import (
	"flag"
	"fmt"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// ProofReport says of a tlog-proof file whether it proves the entry under a checkpoint that satisfies the policy.
type ProofReport struct {
	Origin  string `json:"origin"`
	Failure string `json:"failure,omitempty"`
}

func proofCommand(arguments []string) bool {
	flags := flag.NewFlagSet("proof", flag.ExitOnError)
	policy := flags.String("policy", "", "tlog-policy file that names the log, and the witnesses where there are any")
	entry := flags.String("entry", "", "file of the entry; else it is the proof's extra data")
	must(flags.Parse(arguments))
	if *policy == "" || flags.NArg() != 1 {
		usage()
	}
	report := &ProofReport{}
	if err := report.verify(readText(*policy), *entry, []byte(readText(flags.Arg(0)))); err != nil {
		report.Failure = err.Error()
	}
	fmt.Println(string(encoded(report)))
	return report.Failure != ""
}

func (r *ProofReport) verify(policyText, entryFile string, proof []byte) error {
	_, checkpoint, found := strings.Cut(string(proof), "\n\n")
	if !found {
		return fmt.Errorf("no checkpoint in the proof")
	}
	r.Origin, _, _ = strings.Cut(checkpoint, "\n")
	vkey, known := logKeys(policyText)[r.Origin]
	if !known {
		return fmt.Errorf("the policy does not name the log %q", r.Origin)
	}
	policy, err := policyFor(policyText, vkey)
	if err != nil {
		return err
	}
	entry := []byte(readText(entryFile))
	if entryFile == "" {
		if entry, err = torchwood.ProofExtraData(proof); err != nil {
			return err
		}
	}
	return torchwood.VerifyProof(policy, tlog.RecordHash(entry), proof)
}
