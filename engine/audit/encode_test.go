package audit

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// encoded returns the record as the first line of a log.
func encoded(r *Record) []byte {
	return encodedAt(nil, r, 1, 0, new(hexOf([HashBytes]byte{})))
}

// encodedAt appends the record as line seq after the line whose hash is head, and moves head on.
func encodedAt(b []byte, r *Record, seq, synced uint64, head *[hashHex]byte) []byte {
	from := len(b)
	b = appendRecordStart(b, seq, synced, head)
	b = appendBody(b, "node-1", r.Time, r)
	b, _ = appendHash(b, from, head)
	return b
}

func TestTextInLine(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "app_1 <a&b>", `app_1 <a&b>`},
		{"quote and backslash", `a"b\c`, `a\"b\\c`},
		{"newline, tab, zero, delete", "a\nb\tc\x00d\x7f", `a\u000ab\u0009c\u0000d\u007f`},
		{"forged end of line", "x\"}\n{\"v\":1", `x\"}\u000a{\"v\":1`},
		{"invalid UTF-8", "a\xff\xc3(b", "a\ufffd\ufffd(b"},
		{"surrogate half", "a\xed\xa0\x80b", "a\ufffd\ufffd\ufffdb"},
		{"line separators", "a\u2028b\u2029c", `a\u2028b\u2029c`},
		{"right-to-left override", "a\u202eb\u2066c", `a\u202eb\u2066c`},
		{"zero width and byte order mark", "a\u200bb\ufeffc", `a\u200bb\ufeffc`},
		{"C1 control", "a\u009bb", `a\u009bb`},
		{"other scripts", "Größe 鍵 🔑", "Größe 鍵 🔑"},
		{"256 bytes", strings.Repeat("a", 256), strings.Repeat("a", 256)},
		{"257 bytes", strings.Repeat("a", 257), strings.Repeat("a", 253) + "…"},
		{"cut between runes", strings.Repeat("é", 200), strings.Repeat("é", 126) + "…"},
		{"cut between escapes", strings.Repeat("\n", 1<<20), strings.Repeat(`\u000a`, 42) + "…"},
		{"256 bytes after escaping", strings.Repeat("\"", 128), strings.Repeat(`\"`, 128)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(appendString(nil, tt.in, maxString)); got != `"`+tt.want+`"` {
				t.Errorf("appendString(%q) = %s, want %q", tt.in, got, tt.want)
			}
			line := encoded(&Record{Subject: tt.in, Result: Success})
			if _, v := parseLine(line); v != lineWhole {
				t.Errorf("the line is not one of the log: %s", line)
			}
			var back struct{ Subject string }
			if err := json.Unmarshal(line, &back); err != nil {
				t.Fatalf("not JSON: %v", err)
			}
			if !strings.HasSuffix(back.Subject, "…") && back.Subject != strings.ToValidUTF8(back.Subject, "") {
				t.Errorf("decoded to %q", back.Subject)
			}
		})
	}
}

func TestLongestLineFits(t *testing.T) {
	s := strings.Repeat("\n", 300)
	r := &Record{
		Time: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), RequestID: s, Tenant: s, Subject: s, Kind: s, Source: s,
		Action: s, Resource: s, Context: s, KeyID: s, Algorithm: s, Format: math.MaxInt, In: math.MaxInt, Out: math.MaxInt,
		Result: Success, Code: s, Cause: s, Policies: s, Latency: math.MaxInt64,
	}
	node := strings.Repeat("n", maxNode)
	body := appendBody(nil, node, r.Time, r)
	var head [hashHex]byte
	line := appendRecordStart(nil, math.MaxUint64, math.MaxUint64-1, &head)
	if len(line)+len(lineHash)+hashHex+len(lineEnd) > chainOverhead {
		t.Errorf("the chain adds more than %d bytes", chainOverhead)
	}
	line, _ = appendHash(append(line, body...), 0, &head)
	header, _ := appendHash(appendHeaderStart(nil, node, math.MaxUint64, &head), 0, &head)
	if len(header) > maxHeader {
		t.Errorf("a header of %d bytes, %d are allowed", len(header), maxHeader)
	}
	if len(line) > shortLine {
		t.Errorf("a line of %d bytes without items, %d are allowed", len(line), shortLine)
	}
}

func TestNegativeNumbersAreZero(t *testing.T) {
	line := encoded(&Record{Format: -1, In: -2, Out: -3, Latency: -time.Second, Result: Failed})
	if !bytes.Contains(line, []byte(`,"in":0,"out":0,"result":"failed","latency_us":0,`)) {
		t.Errorf("got %s", line)
	}
	if _, v := parseLine(line); v != lineWhole {
		t.Error("the line is not one of the log")
	}
}

func TestEachBeginningOfALineIsShort(t *testing.T) {
	full := &Record{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), RequestID: "r", Tenant: "t", Subject: "é\n\\\"", Kind: "k", Source: "s",
		Action: "a", Resource: "鍵", Context: "c", KeyID: "k", Algorithm: "A", Format: 4, In: 10, Out: 0, Result: Success,
		Code: "c", Cause: "c", Policies: "p,q", Latency: time.Hour,
	}
	head := hexOf([HashBytes]byte{})
	header, _ := appendHash(appendHeaderStart(nil, "node-1", 17, &head), 0, &head)
	for name, line := range map[string][]byte{
		"header": header, "record": encoded(full), "small record": encoded(&Record{Result: Denied}),
	} {
		for n := range line {
			if _, v := parseLine(line[:n]); v != lineShort {
				t.Errorf("%s cut to %q: verdict %d, want short", name, line[:n], v)
			}
		}
		if l, v := parseLine(line); v != lineWhole || l.header != (name == "header") || string(l.node) != "node-1" {
			t.Errorf("%s: %+v, verdict %d", name, l, v)
		}
		for _, more := range []string{"x", "\n", "\x00"} {
			if _, v := parseLine(append(bytes.Clone(line), more...)); v != lineBad {
				t.Errorf("%s with %q behind it: verdict %d, want bad", name, more, v)
			}
		}
	}
}

// Lines whose hash is right, but which no log writes.
func TestForeignLinesAreBad(t *testing.T) {
	good := `{"v":1,"seq":2,"synced":1,"prev":"` + strings.Repeat("0", 64) + `","time":"2026-01-02T03:04:05Z","node":"n","subject":"s",` +
		`"in":0,"out":0,"result":"success","latency_us":1`
	rehash := func(s string) []byte {
		var head [hashHex]byte
		b, _ := appendHash([]byte(s), 0, &head)
		return b
	}
	if _, v := parseLine(rehash(good)); v != lineWhole {
		t.Fatalf("the line to start from is not accepted: %s", good)
	}
	tests := []struct{ name, old, new string }{
		{"other version", `"v":1`, `"v":2`},
		{"space", `"seq":2`, `"seq": 2`},
		{"sequence zero", `"seq":2,"synced":1`, `"seq":0,"synced":0`},
		{"synced not before", `"synced":1`, `"synced":2`},
		{"leading zero", `"seq":2`, `"seq":02`},
		{"number too large", `"seq":2`, `"seq":18446744073709551616`},
		{"negative number", `"in":0`, `"in":-1`},
		{"fraction", `"in":0`, `"in":0.5`},
		{"unknown member", `"in":0`, `"extra":1,"in":0`},
		{"repeated member", `"subject":"s"`, `"subject":"s","subject":"s"`},
		{"other order", `"in":0,"out":0`, `"out":0,"in":0`},
		{"member missing", `"out":0,`, ``},
		{"empty text", `"subject":"s"`, `"subject":""`},
		{"text too long", `"subject":"s"`, `"subject":"` + strings.Repeat("s", 257) + `"`},
		{"needless escape", `"subject":"s"`, `"subject":"\u0073"`},
		{"short escape", `"subject":"s"`, `"subject":"\n"`},
		{"upper-case escape", `"subject":"s"`, `"subject":"\u000A"`},
		{"control", `"subject":"s"`, "\"subject\":\"\x01\""},
		{"raw override", `"subject":"s"`, "\"subject\":\"\u202e\""},
		{"invalid UTF-8", `"subject":"s"`, "\"subject\":\"\xff\""},
		{"other result", `"success"`, `"maybe"`},
		{"time zone", `05Z`, `05+00:00`},
		{"trailing zero in time", `05Z`, `05.10Z`},
		{"ten digits in time", `05Z`, `05.1234567891Z`},
		{"format zero", `"in":0`, `"format":0,"in":0`},
		{"node name", `"node":"n"`, `"node":"n n"`},
		{"no node", `"node":"n"`, `"node":""`},
		{"long node", `"node":"n"`, `"node":"` + strings.Repeat("n", 65) + `"`},
		{"upper-case hash", `"prev":"0`, `"prev":"A`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(good, tt.old) {
				t.Fatalf("%q is not in the line", tt.old)
			}
			if _, v := parseLine(rehash(strings.Replace(good, tt.old, tt.new, 1))); v != lineBad {
				t.Errorf("verdict %d, want bad", v)
			}
		})
	}
}

func TestReceipt(t *testing.T) {
	if got := (Receipt{}).String(); got != "" {
		t.Errorf("zero receipt is %q", got)
	}
	r := Receipt{Node: "node-1", Sequence: 42, Hash: [HashBytes]byte{0xab, 31: 0x01}}
	if want := "node-1/42/ab" + strings.Repeat("0", 60) + "01"; r.String() != want {
		t.Errorf("got %s, want %s", r, want)
	}
}

// FuzzRecord: whatever a caller puts into a record, the line is one line, is JSON and is accepted, and each beginning of
// it is recognised as one.
func FuzzRecord(f *testing.F) {
	seeds := []string{"", "app_1", "a\nb\"c\\", "\xff\xfe", "\u2028\u202e", strings.Repeat("é", 300), "🔑\x00", `\u000a`}
	if len(seeds) != 8 {
		f.Fatalf("%d seeds", len(seeds))
	}
	for i, s := range seeds {
		f.Add(s, s, int64(i), i, "", "", uint8(0))
		f.Add(s, seeds[len(seeds)-1-i], int64(i), 1<<53+i, s, seeds[(i+1)%len(seeds)], uint8(i))
	}
	f.Fuzz(func(t *testing.T, subject, source string, nanos int64, size int, keyID, code string, items uint8) {
		r := &Record{Time: time.Unix(0, nanos), Subject: subject, Source: source, In: size, Result: Success, Latency: time.Duration(nanos), Policies: code}
		if items%2 == 0 {
			r.KeyID = source
		}
		for i := range int(items % 8) {
			texts := []string{"", code, keyID, subject}
			r.Items = append(r.Items, Item{
				In: size, Out: size >> i, Code: texts[i%2], Cause: texts[i%3], KeyID: texts[i%4],
			})
		}
		line := encoded(r)
		if bytes.IndexByte(line, '\n') != len(line)-1 || bytes.IndexByte(line, 0) >= 0 || !utf8.Valid(line) || !json.Valid(line) {
			t.Fatalf("not one line of JSON: %q", line)
		}
		if l, v := parseLine(line); v != lineWhole || l.items != len(r.Items) {
			t.Fatalf("verdict %d with %d of %d items: %q", v, l.items, len(r.Items), line)
		}
		step := 1 // each beginning of a long line would take too long
		if len(line) > 1<<10 {
			step = len(line) / 64
		}
		for n := max(size, 0) % step; n < len(line); n += step {
			if _, v := parseLine(line[:n]); v != lineShort {
				t.Fatalf("cut to %d bytes: verdict %d: %q", n, v, line[:n])
			}
		}
	})
}

// FuzzLine: what the parser accepts is JSON on one line, and changing any one byte of it makes it bad or short.
func FuzzLine(f *testing.F) {
	head := hexOf([HashBytes]byte{})
	header, _ := appendHash(appendHeaderStart(nil, "node-1", 1, &head), 0, &head)
	seeds := [][]byte{
		header, encoded(&Record{Result: Success}), encoded(&Record{Result: Denied, Subject: "é\n", Code: "forbidden"}),
		encoded(manyOf(3)), encoded(&Record{KeyID: "k", Result: Denied, Items: append(hostileItems, Item{KeyID: "l", Code: "c"})}),
		[]byte(lineStart), []byte("\n"), nil,
	}
	if len(seeds) != 8 {
		f.Fatalf("%d seeds", len(seeds))
	}
	for i, s := range seeds {
		f.Add(s, i)
	}
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		l, v := parseLine(b)
		if v != lineWhole {
			return
		}
		if !json.Valid(b) || bytes.IndexByte(b, '\n') != len(b)-1 || l.seq == 0 {
			t.Fatalf("accepted %q as %+v", b, l)
		}
		other := bytes.Clone(b)
		other[uint(at)%uint(len(other))] ^= 0x01
		if _, v := parseLine(other); v == lineWhole {
			t.Fatalf("accepted both %q and %q", b, other)
		}
	})
}

// A result that Append takes and the verifier does not would make an honest log look changed.
func TestEachResultIsALineOfTheLog(t *testing.T) {
	l := mustOpen(t, smallConfig(t))
	taken := uint64(0)
	for r := range Result(math.MaxUint8) {
		if _, err := l.Append(&Record{Result: r}); err == nil {
			taken++
		}
	}
	mustClose(t, l)
	if taken < 3 {
		t.Fatalf("%d results are taken", taken)
	}
	mustVerify(t, l.cfg.Dir, taken, taken)
}
