package audit_test

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"cryptoserve/engine/audit"
)

// The bytes of a log are its public format: whoever changes this output breaks every verifier.
func ExampleLog() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	l, err := audit.Open(audit.Config{Dir: dir, Node: "node-1", SegmentBytes: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 12, 30, 0, 125_000_000, time.UTC)
	_, err = l.Append(&audit.Record{
		Time: at, RequestID: "req_1", Tenant: "ten_1", Subject: "app_1", Kind: "application", Source: "192.0.2.7:50000",
		Action: "crypto.encrypt", Context: "user-pii", KeyID: "key_user-pii_0123456789abcdef", Algorithm: "AES-256-GCM",
		Format: 4, In: 5, Out: 310, Result: audit.Success, Latency: 85 * time.Microsecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := l.Append(&audit.Record{
		Time: at.Add(time.Second), RequestID: "req_2", Source: "192.0.2.7:50001", Action: "request", Resource: "odd\n\"text\u202e",
		Result: audit.Denied, Code: "unauthenticated", Cause: "expired", Latency: 12 * time.Microsecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := l.Close(); err != nil {
		log.Fatal(err)
	}

	segment, err := os.ReadFile(filepath.Join(dir, "audit-00000000000000000001.log"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", bytes.TrimRight(segment, "\x00"))
	fmt.Println("Audit-Receipt:", receipt)
	// Output:
	// {"v":1,"segment":"cryptoserve-audit","node":"node-1","first":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","hash":"f7707d52bb8a8e7aff8ec9badaf2a6ca3437a8e4a7d8d7230aeb247dac10e0df"}
	// {"v":1,"seq":1,"synced":0,"prev":"f7707d52bb8a8e7aff8ec9badaf2a6ca3437a8e4a7d8d7230aeb247dac10e0df","time":"2026-11-23T12:30:00.125Z","node":"node-1","request_id":"req_1","tenant":"ten_1","subject":"app_1","kind":"application","source":"192.0.2.7:50000","action":"crypto.encrypt","context":"user-pii","key_id":"key_user-pii_0123456789abcdef","algorithm":"AES-256-GCM","format":4,"in":5,"out":310,"result":"success","latency_us":85,"hash":"f1b2e32407732bb4af9cf155a9c9e75b3726549345455930c8dc70b9157613fe"}
	// {"v":1,"seq":2,"synced":1,"prev":"f1b2e32407732bb4af9cf155a9c9e75b3726549345455930c8dc70b9157613fe","time":"2026-11-23T12:30:01.125Z","node":"node-1","request_id":"req_2","source":"192.0.2.7:50001","action":"request","resource":"odd\u000a\"text\u202e","in":0,"out":0,"result":"denied","code":"unauthenticated","cause":"expired","latency_us":12,"hash":"646f492f276c80ff59fec3de9d7c19fa225917c277af8e4685395f4ceb8fccdf"}
	// Audit-Receipt: node-1/2/646f492f276c80ff59fec3de9d7c19fa225917c277af8e4685395f4ceb8fccdf
}

// A batch has one record. Each item is [in, out], then its fault code, its cause and its key id as far as they say something:
// a key id only when it is another than the record's.
func ExampleLog_batch() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	l, err := audit.Open(audit.Config{Dir: dir, Node: "node-1", SegmentBytes: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := l.Append(&audit.Record{
		Time: time.Date(2026, 11, 23, 12, 30, 0, 0, time.UTC), RequestID: "req_1", Tenant: "ten_1", Subject: "app_1",
		Kind: "application", Source: "192.0.2.7:50000", Action: "crypto.decrypt", Context: "user-pii", KeyID: "key_user-pii_2",
		Algorithm: "AES-256-GCM", Format: 4, In: 1048, Out: 96, Result: audit.Success, Latency: 170 * time.Microsecond,
		Items: []audit.Item{
			{In: 262, Out: 32, KeyID: "key_user-pii_2"},
			{In: 262, Out: 32},
			{In: 262, Code: "decrypt-failed", Cause: "tag"},
			{In: 262, Out: 32, KeyID: "key_user-pii_1"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := l.Close(); err != nil {
		log.Fatal(err)
	}

	segment, err := os.ReadFile(filepath.Join(dir, "audit-00000000000000000001.log"))
	if err != nil {
		log.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimRight(segment, "\x00"), []byte("\n"))
	fmt.Printf("%s", lines[1])
	fmt.Println("Audit-Receipt:", receipt)
	// Output:
	// {"v":1,"seq":1,"synced":0,"prev":"f7707d52bb8a8e7aff8ec9badaf2a6ca3437a8e4a7d8d7230aeb247dac10e0df","time":"2026-11-23T12:30:00Z","node":"node-1","request_id":"req_1","tenant":"ten_1","subject":"app_1","kind":"application","source":"192.0.2.7:50000","action":"crypto.decrypt","context":"user-pii","key_id":"key_user-pii_2","algorithm":"AES-256-GCM","format":4,"in":1048,"out":96,"items":[[262,32],[262,32],[262,0,"decrypt-failed","tag"],[262,32,"","","key_user-pii_1"]],"result":"success","latency_us":170,"hash":"d7fe8d5512bd0d5b7a384848570b494194f1c04acd12dcff4c6e36bb3af486a1"}
	// Audit-Receipt: node-1/1/d7fe8d5512bd0d5b7a384848570b494194f1c04acd12dcff4c6e36bb3af486a1
}
