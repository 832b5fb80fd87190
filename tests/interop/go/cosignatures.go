package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Cosigned is a checkpoint with a witness's cosignature/v1, made at Time.
type Cosigned struct {
	Note string
	VKey string // of type 0x04
	Time int64
}

// cosigVerifier makes the verifier of a vkey of type 0x04; the module takes it as one of type 0x01.
func cosigVerifier(vkey string) note.Verifier {
	parts := strings.SplitN(vkey, "+", 3)
	material, err := base64.StdEncoding.DecodeString(parts[2])
	must(err)
	if material[0] != 4 {
		fail("not a cosignature key: " + vkey)
	}
	plain, err := note.NewEd25519VerifierKey(parts[0], ed25519.PublicKey(material[1:]))
	must(err)
	verifier, err := formats.NewVerifierForCosignatureV1(plain)
	must(err)
	if fmt.Sprintf("%08x", verifier.KeyHash()) != parts[1] {
		fail("wrong key ID in " + vkey)
	}
	return verifier
}

// cosigVKey is the witness key (type 0x04) of the same secret as k.
func cosigVKey(k key) string {
	signer := cosigner(k)
	private := ed25519.NewKeyFromSeed(unhex(k.seed))
	material := append([]byte{4}, private.Public().(ed25519.PublicKey)...)
	return fmt.Sprintf("%s+%08x+%s", k.name, signer.KeyHash(), base64.StdEncoding.EncodeToString(material))
}

func cosigner(k key) note.Signer {
	id := k.vkey[len(k.name)+1:][:8]
	secret := base64.StdEncoding.EncodeToString(append([]byte{1}, unhex(k.seed)...))
	signer, err := formats.NewSignerForCosignatureV1("PRIVATE+KEY+" + k.name + "+" + id + "+" + secret)
	must(err)
	return signer
}

// cosign adds a cosignature made at a given time, which the module's own signer does not let one choose.
func cosign(signed string, k key, time uint64) string {
	text := signed[:strings.LastIndex(signed, "\n\n")+1]
	private := ed25519.NewKeyFromSeed(unhex(k.seed))
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	line := binary.BigEndian.AppendUint32(nil, cosigner(k).KeyHash())
	line = binary.BigEndian.AppendUint64(line, time)
	line = append(line, ed25519.Sign(private, []byte(message))...)
	return signed + "— " + k.name + " " + base64.StdEncoding.EncodeToString(line) + "\n"
}

func cosignatureVectors() object {
	ledger, witness := newKey("example.com/7f3a/goods/0"), newKey("witness.example/größe")
	vkey := cosigVKey(witness)
	cosignatures := []object{}
	for _, text := range []string{
		ledger.name + "\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
		ledger.name + "\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
		ledger.name + "\n9223372036854775807\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nextension\n",
	} {
		for _, time := range []uint64{0, 1, 1679315147, 1<<63 - 1} {
			signed := cosign(sign(text, ledger), witness, time)
			mustOpen(signed, vkey)
			cosignatures = append(cosignatures, object{"note": signed, "time": fmt.Sprint(time), "vkey": vkey})
		}
	}
	return object{
		"about":   "C2SP cosignature/v1 (Ed25519). A key's seed is the SHA-256 of its name. refused: must not open with the vkey.",
		"made_by": madeBy(), "cosignatures": cosignatures, "refused": refusedCosignatures(ledger, witness, vkey),
		"keys": []object{{"name": witness.name, "seed": witness.seed, "vkey": vkey}},
	}
}

// refusedCosignatures lists notes that note.Open refuses with the witness's key; it fails if one is not refused.
func refusedCosignatures(ledger, witness key, vkey string) []object {
	text := ledger.name + "\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
	good := cosign(sign(text, ledger), witness, 1679315147)
	line := good[strings.LastIndex(good, "— "+witness.name):]
	encoded := strings.TrimSuffix(strings.Fields(line)[2], "\n")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	must(err)
	later := append([]byte{}, raw...)
	later[11]++
	cases := []object{}
	for _, c := range [][2]string{
		{"text changed", strings.Replace(good, "\n5\n", "\n6\n", 1)},
		{"another time", strings.Replace(good, encoded, base64.StdEncoding.EncodeToString(later), 1)},
		{"signature without its time", strings.Replace(
			good, encoded, base64.StdEncoding.EncodeToString(append(raw[:4:4], raw[12:]...)), 1)},
		{"signature cut off", strings.Replace(good, encoded, base64.StdEncoding.EncodeToString(raw[:75]), 1)},
		{"only the log's signature", sign(text, ledger)},
		{"a plain signature of the same key", sign(text, witness)},
	} {
		if _, err := note.Open([]byte(c[1]), note.VerifierList(cosigVerifier(vkey))); err == nil {
			fail("not refused: " + c[0])
		}
		cases = append(cases, object{"why": c[0], "note": c[1], "vkey": vkey})
	}
	return cases
}

func mustOpen(signed, vkey string) {
	_, err := note.Open([]byte(signed), note.VerifierList(cosigVerifier(vkey)))
	must(err)
}

func checkCosigned(report *Report, c Cosigned) {
	opened, err := note.Open([]byte(c.Note), note.VerifierList(cosigVerifier(c.VKey)))
	report.expect(err == nil && len(opened.Sigs) == 1, "cosigned %q: %v", c.Note, err)
	if err == nil {
		time, err := formats.CoSigV1Timestamp(opened.Sigs[0])
		report.expect(err == nil && time.Unix() == c.Time, "time of %q: %v", c.Note, err)
	}
}
