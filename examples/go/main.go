// Traces goods by gRPC, believes nothing that is not proved, and prints them level by level. See docs/clients.md.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	logs "goodstrace.example/client/pb/log"
	"goodstrace.example/client/pb/query"
)

// What is read of the part "facts" of an event.
type facts struct {
	EventID            string `json:"event_id"`
	EventHash          string `json:"event_hash"`
	TimeUS             int64  `json:"time_us"`
	Type, Action, Step string
	Correction         struct{ Digest string }
}

// main is `client VKEYS HOST:PORT KEY`, or `client VKEYS ANSWER`; VKEYS is a file of trusted keys, ANSWER one of a TraceResponse.
func main() {
	log.SetFlags(0)
	vkeys, err := os.ReadFile(os.Args[1])
	must(err)
	keys, answer := []note.Verifier{}, &query.TraceResponse{}
	for _, vkey := range strings.Fields(string(vkeys)) {
		key, err := note.NewVerifier(vkey)
		must(err)
		keys = append(keys, key)
	}
	if len(os.Args) > 3 {
		answer = trace(os.Args[2], os.Args[3])
	} else {
		data, err := os.ReadFile(os.Args[2])
		must(err)
		must(proto.Unmarshal(data, answer))
	}
	show(answer, note.VerifierList(keys...))
}

// trace asks for a trace page by page; all pages are of the same checkpoints.
func trace(target, key string) *query.TraceResponse {
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "goodstrace-user", "example-go")
	if key := os.Getenv("GOODSTRACE_API_KEY"); key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	whole, request := &query.TraceResponse{}, &query.TraceRequest{Key: key, Purpose: "an example"}
	for {
		page, err := query.NewTraceServiceClient(connection).Trace(ctx, request)
		must(err)
		page.Nodes, page.Events = append(whole.Nodes, page.Nodes...), append(whole.Events, page.Events...)
		if whole, request.PageToken = page, page.NextPageToken; request.PageToken == "" {
			return whole
		}
	}
}

// show verifies a whole answer, and prints it if all of it holds.
func show(answer *query.TraceResponse, keys note.Verifiers) {
	sizes, roots, events, text := map[string]uint64{}, map[string][]byte{}, map[string]string{}, &bytes.Buffer{}
	for _, each := range answer.Checkpoints {
		check(roots[each.Log] == nil, "two checkpoints of %s", each.Log)
		sizes[each.Log], roots[each.Log] = open(each, keys)
	}
	for _, event := range answer.Events {
		for _, sealed := range append(event.AlsoAt, event.Sealed) {
			found := verify(sealed, sizes[sealed.GetLog()], roots[sealed.GetLog()], event.Identity)
			events[event.Identity] = fmt.Sprintf("%s at %s[%d]", found, sealed.Log, sealed.Index)
		}
	}
	check(len(events) == len(answer.Events) && len(events) == int(answer.TotalEvents), "an event is missing or shown twice")
	fmt.Fprintln(text, answer.Key)
	for _, node := range answer.Nodes {
		way := strings.ToLower(strings.TrimPrefix(node.Direction.String(), "DIRECTION_"))
		fmt.Fprintln(text, "level", node.Level, way, node.Role, node.Grade, node.Key)
		for _, link := range node.Links {
			for _, identity := range link.Identities {
				check(events[identity] != "", "a link of %s rests on an event that is not shown", node.Key)
				fmt.Fprintln(text, " ", link.Kind, "of", link.Key, "by", events[identity])
			}
		}
		for _, event := range answer.Events {
			for _, mention := range event.Mentions {
				if mention.Key == node.Key {
					fmt.Fprintln(text, " ", events[event.Identity])
				}
			}
		}
	}
	for _, each := range answer.Checkpoints {
		fmt.Fprintln(text, "proved under", each.Log, "of", sizes[each.Log], "entries")
	}
	text.WriteTo(os.Stdout)
}

// open verifies a checkpoint: signed by a trusted key that is named after the log. It gives size and root.
func open(checkpoint *logs.Checkpoint, keys note.Verifiers) (uint64, []byte) {
	opened, err := note.Open([]byte(checkpoint.Note), keys)
	must(err)
	lines := strings.Split(opened.Text, "\n") // origin, size, root, and nothing after the last newline
	named := lines[0] == opened.Sigs[0].Name && strings.HasSuffix(lines[0], "/"+checkpoint.Log)
	check(len(lines) == 4 && named, "not a checkpoint of %s", checkpoint.Log)
	size, err := strconv.ParseUint(lines[1], 10, 63)
	must(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	return size, root
}

// verify checks that an event's entry is in its log, and that the parts shown are those it commits to. It gives a line to print.
func verify(sealed *logs.SealedEntry, size uint64, root []byte, identity string) string {
	leaf := rfc6962.DefaultHasher.HashLeaf(sealed.GetEntry())
	must(proof.VerifyInclusion(rfc6962.DefaultHasher, sealed.GetIndex(), size, leaf, sealed.GetInclusionProof(), root))
	entry := struct {
		Kind     string
		Merchant uint64
		Parts    []struct{ Name, Commit string }
	}{}
	must(json.Unmarshal(sealed.Entry, &entry))
	check(entry.Kind == "event", "an entry of kind %s is no event", entry.Kind)
	commits, event := map[string]string{}, facts{}
	for _, part := range entry.Parts {
		commits[part.Name] = part.Commit
	}
	line := "an event withheld"
	for _, part := range sealed.Parts {
		committed := fmt.Sprintf("\x02%c%s%s%s", len(part.Name), part.Name, part.Salt, part.Content)
		check(len(part.Salt) == 32 && commits[part.Name] == hash(committed), "%s is not what the entry commits to", part.Name)
		delete(commits, part.Name) // so that a part is not shown twice
		if part.Name == "facts" {
			must(json.Unmarshal(part.Content, &event))
			check(event.identity(entry.Merchant) == identity, "not the event %s", identity)
			words := []string{time.UnixMicro(event.TimeUS).UTC().Format(time.RFC3339), event.Type, event.Action, event.Step, event.EventID}
			line = strings.Join(strings.Fields(strings.Join(words, " ")), " ")
		}
	}
	return line
}

// identity gives the name by which the links of an answer mean an event.
func (event facts) identity(merchant uint64) string {
	text := &bytes.Buffer{}
	encoder := json.NewEncoder(text)
	encoder.SetEscapeHTML(false)
	must(encoder.Encode([]any{merchant, event.EventID, event.EventHash, event.Correction.Digest}))
	return hash(strings.TrimSuffix(text.String(), "\n"))
}

func hash(text string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
}

func must(err error) {
	check(err == nil, "%v", err)
}

func check(holds bool, format string, arguments ...any) {
	if !holds {
		log.Fatalf("refused: "+format, arguments...)
	}
}
