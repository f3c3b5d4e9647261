package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
)

// TestBatch sends items of all kinds: with and without a reference, empty, with associated data, and one that fails.
func TestBatch(t *testing.T) {
	f := newFixture(t)
	failed := &wire.ItemError{Code: "decrypt-failed", Detail: "decryption failed"}
	a := f.do(t, "POST", batchPath+"encrypt", `{"items":[
		{"plaintext":"YWJj","reference":"r\u00e9\"1\\"},
		{"reference":"2","plaintext":"","associated_data":"ZGVm"},
		{"plaintext":"ZmFpbA=="},
		{"plaintext":"ZmFpbA==","reference":"4"}
	],"algorithm":"x","usage":"at_rest","context":"user-pii"}`)
	check := func(a answer, want any) {
		t.Helper()
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if a.StatusCode != http.StatusOK || string(a.body) != string(text) {
			t.Errorf("%s:\n%s, want\n%s", a.Status, a.body, text)
		}
	}
	frames := func(algorithm string) []wire.BatchEncryptResult {
		return []wire.BatchEncryptResult{
			{Reference: `ré"1\`, Ciphertext: []byte("ABC"), Algorithm: algorithm, KeyID: keyID, Format: 4},
			{Reference: "2", Ciphertext: []byte("def"), Algorithm: algorithm, KeyID: keyID, Format: 3},
			{Error: failed},
			{Reference: "4", Error: failed},
		}
	}
	check(a, wire.BatchEncryptResponse{Results: frames("xAES-256-GCM"), Succeeded: 2, Failed: 2, Warnings: warned})

	body := `{"context":"user-pii","items":[{"ciphertext":"YWJj","reference":"r\u00e9\"1\\"},` +
		`{"ciphertext":"","associated_data":"ZGVm","reference":"2"},{"ciphertext":"ZmFpbA=="},{"ciphertext":"ZmFpbA==","reference":"4"}]}`
	check(f.do(t, "POST", batchPath+"rewrap", body), wire.BatchEncryptResponse{
		Results: frames("AES-256-GCM"), Succeeded: 2, Failed: 2, Warnings: warned,
	})
	check(f.do(t, "POST", batchPath+"decrypt", body), wire.BatchDecryptResponse{
		Results: []wire.BatchDecryptResult{
			{Reference: `ré"1\`, Plaintext: []byte("ABC"), KeyID: keyID, Rewrap: true},
			{Reference: "2", Plaintext: []byte("def"), KeyID: keyID},
			{Error: failed},
			{Reference: "4", Error: failed},
		}, Succeeded: 2, Failed: 2,
	})

	// An empty plaintext is there, which its wire type could not tell from one that is not.
	a = f.do(t, "POST", batchPath+"decrypt", `{"context":"user-pii","items":[{"ciphertext":""}]}`)
	if want := `{"results":[{"plaintext":"","key_id":"` + keyID + `","rewrap":true}],"succeeded":1,"failed":0}`; string(a.body) != want {
		t.Errorf("%s", a.body)
	}
	a = f.do(t, "POST", batchPath+"decrypt", `{"context":"user-pii","items":[]}`)
	if a.StatusCode != http.StatusOK { // the engine refuses it, and only the engine
		t.Errorf("no items: %s", a.Status)
	}
}

// TestBatchThatIsTooLong: the items are counted while they are read.
func TestBatchThatIsTooLong(t *testing.T) {
	f := newFixture(t)
	items := func(n int) string { return strings.Repeat(`{"plaintext":""},`, n-1) + `{"plaintext":""}` }
	if a := f.do(t, "POST", batchPath+"encrypt", `{"context":"a","items":[`+items(1000)+`]}`); a.StatusCode != http.StatusOK {
		t.Errorf("1000 items: %s", a.Status)
	}
	for _, rest := range []string{`]}`, ``, `,{"x":1}`} {
		a := f.do(t, "POST", batchPath+"encrypt", `{"context":"a","items":[`+items(1001)+rest)
		p := a.problem(t)
		if a.StatusCode != http.StatusRequestEntityTooLarge || p.Code != "too-large" || len(p.Errors) != 1 || p.Errors[0].Field != "items" {
			t.Errorf("1001 items: %s: %s", a.Status, a.body)
		}
	}
}

// TestLargeBatch moves as much as fits, so that buffers grow.
func TestLargeBatch(t *testing.T) {
	f := newFixture(t)
	var body strings.Builder
	body.WriteString(`{"context":"a","items":[`)
	want := wire.BatchDecryptResponse{Succeeded: 1000}
	for i := range 1000 {
		if i > 0 {
			body.WriteByte(',')
		}
		data := strings.Repeat("a", i*13%11_000)
		reference := strings.Repeat("\x01", i%129)
		quoted, err := json.Marshal(reference)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&body, `{"ciphertext":%q,"reference":%s}`, b64(data), quoted)
		want.Results = append(want.Results, wire.BatchDecryptResult{
			Reference: reference, Plaintext: []byte(strings.ToUpper(data)), KeyID: keyID, Rewrap: i == 0,
		})
	}
	body.WriteString(`]}`)
	a := f.do(t, "POST", batchPath+"decrypt", body.String())
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(string(a.body), `"plaintext":"",`, ""); a.StatusCode != http.StatusOK || got != string(text) {
		t.Errorf("%s: %d bytes, want %d", a.Status, len(got), len(text))
	}
}
