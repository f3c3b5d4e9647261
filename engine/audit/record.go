package audit

import (
	"encoding/hex"
	"strconv"
	"time"
)

// Record says what one operation did, for whom, and how it ended. It never holds a payload, a key, a token or a PIN.
// Sequence number, node, chain values and line format are the log's business.
//
// Strings may be hostile: the log escapes them and cuts each at 256 bytes of the line, policies at 128, those of an item at
// 64 and its key id at 128. Negative numbers are written as 0.
type Record struct {
	Time      time.Time     // when the operation ended; zero means now
	RequestID string        //
	Tenant    string        // empty when not known
	Subject   string        // id of the application or user, empty when not authenticated
	Kind      string        // application, user, appliance or empty
	Source    string        // network address of the caller
	Action    string        // as in package policy
	Resource  string        // what the action was about, if it has no field of its own
	Context   string        //
	KeyID     string        //
	Algorithm string        //
	Format    int           // ciphertext format, 0 when none
	In, Out   int           // sizes in bytes; of a batch the sums
	Items     []Item        // of a batch: what became of each, in the order of the request; at most MaxItems
	Result    Result        //
	Code      string        // fault code when the result is not Success
	Cause     string        // a fixed word for the auditor, never shown to the caller, such as "tag" or "commitment"
	Policies  string        // names of the policies that were not met, comma separated; cut at 128 bytes
	Latency   time.Duration // written in microseconds
	// Administrative records may use the reserve that is left when the disk is full. One with items takes as much of it as
	// its line is long.
	Administrative bool
}

// Item is one operation of a batch, which has one record.
type Item struct {
	KeyID   string // empty when it is the record's
	In, Out int    // sizes in bytes
	Code    string // fault code, empty when the operation succeeded
	Cause   string // as in Record
}

// Result is how an operation ended. The zero value is unknown and is refused by Append.
type Result uint8

// The results.
const (
	ResultUnknown Result = iota
	Success
	Denied // refused: not authenticated, not allowed, wrong input, wrong state
	Failed // something broke
	// Started stands before a change; the record of its end follows under the same request id. A Started without an end
	// means that the node stopped, or could not write, in between.
	Started
)

// String returns the word that stands in the line.
func (r Result) String() string {
	switch r {
	case Success:
		return "success"
	case Denied:
		return "denied"
	case Failed:
		return "failed"
	case Started:
		return "started"
	case ResultUnknown:
	}
	return "unknown"
}

// Receipt is the place of a record in its node's log, for the caller to keep.
type Receipt struct {
	Node     string
	Sequence uint64
	Hash     [HashBytes]byte // of the record's line
}

// String returns node/sequence/hash, the hash in lower-case hex: the value of the header Audit-Receipt. The zero Receipt
// gives the empty string.
func (r Receipt) String() string {
	if r.Sequence == 0 {
		return ""
	}
	b := make([]byte, 0, len(r.Node)+22+hashHex)
	b = append(b, r.Node...)
	b = append(b, '/')
	b = strconv.AppendUint(b, r.Sequence, 10)
	b = append(b, '/')
	return string(hex.AppendEncode(b, r.Hash[:]))
}
