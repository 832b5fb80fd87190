package main

import (
	"strings"

	"filippo.io/torchwood"
)

// policyFor makes the policy for one log's checkpoints: its own key, and the witnesses and quorum of a policy text.
// torchwood wants every log of a policy to have signed, so the lines of all logs are left out but that of this one.
func policyFor(text, vkey string) (torchwood.Policy, error) {
	kept := []string{"log " + vkey}
	quorum := false
	for _, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "log" {
			continue
		}
		quorum = quorum || fields[0] == "quorum"
		kept = append(kept, line)
	}
	if !quorum {
		kept = append(kept, "quorum none")
	}
	return torchwood.ParsePolicy([]byte(strings.Join(kept, "\n") + "\n"))
}

// logKeys gives the vkeys of a policy's logs, by origin.
func logKeys(text string) map[string]string {
	keys := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "log" {
			origin, _, _ := strings.Cut(fields[1], "+")
			keys[origin] = fields[1]
		}
	}
	return keys
}

func readLines(path string) map[string]bool {
	lines := map[string]bool{}
	for _, line := range strings.Fields(readText(path)) {
		lines[line] = true
	}
	return lines
}
