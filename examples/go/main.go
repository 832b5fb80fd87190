// Traces goods by gRPC, believes nothing that is not proved, and prints them level by level. See docs/clients.md.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	checkpoint "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	logs "goodstrace.example/client/pb/log"
	"goodstrace.example/client/pb/query"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// main is `client VKEYS HOST:PORT KEY`, or `client VKEYS ANSWER`; VKEYS is a file of trusted keys, ANSWER one of a TraceResponse.
func main() {
	keys, answer := []note.Verifier{}, &query.TraceResponse{}
	for _, vkey := range strings.Fields(string(must(os.ReadFile(os.Args[1])))) {
		keys = append(keys, must(note.NewVerifier(vkey)))
	}
	if len(os.Args) > 3 {
		answer = trace(os.Args[2], os.Args[3])
	} else {
		check(proto.Unmarshal(must(os.ReadFile(os.Args[2])), answer) == nil, "not an answer")
	}
	fmt.Print(show(answer, note.VerifierList(keys...)))
}

// trace asks for a trace page by page; all pages are of the same checkpoints.
func trace(target, key string) *query.TraceResponse {
	client := query.NewTraceServiceClient(must(grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "goodstrace-user", "example-go")
	if key := os.Getenv("GOODSTRACE_API_KEY"); key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	whole, request := &query.TraceResponse{}, &query.TraceRequest{Key: key, Purpose: "an example"}
	for {
		page := must(client.Trace(ctx, request))
		page.Nodes, page.Events = append(whole.Nodes, page.Nodes...), append(whole.Events, page.Events...)
		if whole, request.PageToken = page, page.NextPageToken; request.PageToken == "" {
			return whole
		}
	}
}

// show verifies a whole answer and gives it as lines, level by level.
func show(answer *query.TraceResponse, keys note.Verifiers) string {
	trees, events, history := map[string]*checkpoint.Checkpoint{}, map[string]string{}, map[string][]string{}
	text, under := fmt.Sprintln(answer.Key), ""
	for _, each := range answer.Checkpoints {
		opened, tree := must(note.Open([]byte(each.Note), keys)), &checkpoint.Checkpoint{}
		rest := must(tree.Unmarshal([]byte(opened.Text)))
		named := tree.Origin == opened.Sigs[0].Name && strings.HasSuffix(tree.Origin, "/"+each.Log) // signed by a key of this log
		check(named && len(rest) == 0 && trees[each.Log] == nil, "not the one checkpoint of %s", each.Log)
		trees[each.Log] = tree
		under += fmt.Sprintln("proved under", each.Log, "of", trees[each.Log].Size, "entries")
	}
	for _, event := range answer.Events {
		for _, sealed := range append(event.AlsoAt, event.Sealed) {
			found := verify(sealed, trees[sealed.GetLog()], event.Identity)
			events[event.Identity] = fmt.Sprintf("%s at %s[%d]", found, sealed.Log, sealed.Index)
		}
		for _, mention := range event.Mentions {
			history[mention.Key] = append(history[mention.Key], events[event.Identity])
		}
	}
	check(len(events) == len(answer.Events) && len(events) == int(answer.TotalEvents), "an event is missing or shown twice")
	for _, node := range answer.Nodes {
		way := strings.ToLower(strings.TrimPrefix(node.Direction.String(), "DIRECTION_"))
		text += fmt.Sprintln("level", node.Level, way, node.Role, node.Grade, node.Key)
		for _, link := range node.Links {
			for _, identity := range link.Identities {
				check(events[identity] != "", "a link of %s rests on an event that is not shown", node.Key)
				text += fmt.Sprintln(" ", link.Kind, "of", link.Key, "by", events[identity])
			}
		}
		for _, line := range history[node.Key] {
			text += fmt.Sprintln(" ", line)
		}
	}
	return text + under
}

// verify checks that an event's entry is in its log, and that the parts shown are those it commits to. It gives a line to print.
func verify(sealed *logs.SealedEntry, under *checkpoint.Checkpoint, identity string) string {
	check(under != nil, "no checkpoint of its log")
	leaf := rfc6962.DefaultHasher.HashLeaf(sealed.Entry)
	must(leaf, proof.VerifyInclusion(rfc6962.DefaultHasher, sealed.Index, under.Size, leaf, sealed.InclusionProof, under.Hash))
	var entry struct {
		Kind     string
		Merchant uint64
		Parts    []struct{ Name, Commit string }
	}
	check(json.Unmarshal(sealed.Entry, &entry) == nil && entry.Kind == "event", "not the entry of an event")
	commits, line := map[string]string{}, "an event withheld"
	for _, part := range entry.Parts {
		commits[part.Name] = part.Commit
	}
	for _, part := range sealed.Parts {
		shown := sha256.Sum256(fmt.Appendf(nil, "\x02%c%s%s%s", len(part.Name), part.Name, part.Salt, part.Content))
		check(len(part.Salt) == 32 && commits[part.Name] == fmt.Sprintf("%x", shown), "%s is not what the entry commits to", part.Name)
		delete(commits, part.Name) // so that a part is not shown twice
		if part.Name == "facts" {
			line = read(part.Content, entry.Merchant, identity)
		}
	}
	return line
}

// read gives the facts of an event as a line, if they are those of this identity.
func read(content []byte, merchant uint64, identity string) string {
	var facts struct {
		EventID            json.RawMessage `json:"event_id"` // as it is written: so it is in the identity
		EventHash          string          `json:"event_hash"`
		TimeUS             int64           `json:"time_us"`
		Type, Action, Step string
		Correction         struct{ Digest string }
	}
	must(content, json.Unmarshal(content, &facts))
	named := sha256.Sum256(fmt.Appendf(nil, `[%d,%s,"%s","%s"]`, merchant, facts.EventID, facts.EventHash, facts.Correction.Digest))
	check(fmt.Sprintf("%x", named) == identity, "not the event %s", identity)
	id := strings.Trim(string(facts.EventID), `"`)
	words := []string{time.UnixMicro(facts.TimeUS).UTC().Format(time.RFC3339), facts.Type, facts.Action, facts.Step, id}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

func must[T any](value T, err error) T {
	check(err == nil, "%v", err)
	return value
}

func check(holds bool, format string, arguments ...any) {
	if !holds {
		fmt.Fprintf(os.Stderr, "refused: "+format+"\n", arguments...)
		os.Exit(1)
	}
}
