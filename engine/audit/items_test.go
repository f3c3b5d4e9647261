package audit

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cryptoserve/engine/fault"
)

// manyOf is a record of n small encryptions.
func manyOf(n int) *Record {
	r := sample()
	r.Action, r.In, r.Out = "crypto.encrypt-batch", 32*n, 262*n
	r.Items = make([]Item, n)
	for i := range r.Items {
		r.Items[i] = Item{KeyID: r.KeyID, In: 32, Out: 262}
	}
	return r
}

// longest is a record with the longest line that there is.
func longest() *Record { return longestOf(MaxItems) }

// longestOf is a record with the longest line that n items can have.
func longestOf(n int) *Record {
	s := strings.Repeat("s", 300)
	r := &Record{
		Time: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), RequestID: s, Tenant: s, Subject: s, Kind: s, Source: s,
		Action: s, Resource: s, Context: s, KeyID: s, Algorithm: s, Format: math.MaxInt, In: math.MaxInt, Out: math.MaxInt,
		Result: Success, Code: s, Cause: s, Policies: s, Latency: math.MaxInt64, Items: make([]Item, n),
	}
	for i := range r.Items {
		r.Items[i] = Item{KeyID: s[1:], In: math.MaxInt, Out: math.MaxInt, Code: s, Cause: s}
	}
	return r
}

// mixed is n records, short ones and batches of all kinds, the longest line among them.
func mixed(n int) []*Record {
	kinds := []*Record{sample(), manyOf(1), manyOf(100), {Result: Denied, Items: hostileItems}, longestOf(40), longest(), manyOf(MaxItems)}
	records := make([]*Record, n)
	for i := range records {
		records[i] = kinds[i%len(kinds)]
		if i%3 == 0 {
			records[i] = sample()
		}
	}
	return records
}

var hostileItems = []Item{
	{Code: "a\"b\\c", Cause: "x\"]],\"result\":\"success\"", KeyID: "\xff\u202e\x00"},
	{In: -1, Out: math.MinInt, Code: strings.Repeat("\n", 1000)},
	{Cause: strings.Repeat("é", 1000), KeyID: strings.Repeat("🔑", 1000)},
	{KeyID: "\u2028]}\n{\"v\":1"},
}

func TestItemsInLine(t *testing.T) {
	s64, s128 := strings.Repeat("s", 64), strings.Repeat("s", 128)
	tests := []struct {
		name  string
		keyID string
		items []Item
		want  string
	}{
		{"none", "k", nil, ``},
		{"empty", "k", []Item{}, ``},
		{"one that says nothing", "k", []Item{{}}, `[0,0]`},
		{"sizes", "k", []Item{{In: 32, Out: 262}, {KeyID: "k", In: 1, Out: 2}}, `[32,262],[1,2]`},
		{"negative sizes", "k", []Item{{In: -1, Out: math.MinInt}}, `[0,0]`},
		{"largest sizes", "k", []Item{{In: 1<<53 + 1, Out: math.MaxInt64}}, `[9007199254740993,9223372036854775807]`},
		{"code", "k", []Item{{In: 5, Code: "decrypt-failed"}}, `[5,0,"decrypt-failed"]`},
		{"code and cause", "k", []Item{{In: 5, Code: "decrypt-failed", Cause: "tag"}}, `[5,0,"decrypt-failed","tag"]`},
		{"cause alone", "k", []Item{{Cause: "tag"}}, `[0,0,"","tag"]`},
		{"another key", "k", []Item{{KeyID: "l"}, {KeyID: "m", Code: "c"}}, `[0,0,"","","l"],[0,0,"c","","m"]`},
		{"all", "k", []Item{{KeyID: "l", In: 1, Out: 2, Code: "c", Cause: "d"}}, `[1,2,"c","d","l"]`},
		{"own key", "k", []Item{{KeyID: "k", Code: "c", Cause: "d"}}, `[0,0,"c","d"]`},
		{"record without a key", "", []Item{{KeyID: "k"}, {}}, `[0,0,"","","k"],[0,0]`},
		{"keys that look the same", "\xff", []Item{{KeyID: "\xfe"}, {KeyID: "\xfe", Cause: "d"}}, `[0,0],[0,0,"","d"]`},
		{"a key that is cut", s128, []Item{{KeyID: s128}, {KeyID: s128 + "s"}}, `[0,0],[0,0,"","","` + s128[:125] + `…"]`},
		{"own key that is long", s128 + s64, []Item{{KeyID: s128 + s64}, {KeyID: s128}}, `[0,0],[0,0,"","","` + s128 + `"]`},
		{"text that just fits", "", []Item{{KeyID: s128, Code: s64, Cause: s64}}, `[0,0,"` + s64 + `","` + s64 + `","` + s128 + `"]`},
		{"text that does not", "", []Item{{KeyID: s128 + "s", Code: s64 + "s", Cause: s64 + "s"}},
			`[0,0,"` + s64[:61] + `…","` + s64[:61] + `…","` + s128[:125] + `…"]`},
		{"hostile", "", hostileItems, `[0,0,"a\"b\\c","x\"]],\"result\":\"success\"","` + "\ufffd" + `\u202e\u0000"],` +
			`[0,0,"` + strings.Repeat(`\u000a`, 10) + `…"],[0,0,"","` + strings.Repeat("é", 30) + `…","` + strings.Repeat("🔑", 31) + `…"],` +
			`[0,0,"","","\u2028]}\u000a{\"v\":1"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line := encoded(&Record{KeyID: tt.keyID, In: 7, Out: 8, Items: tt.items, Result: Success})
			want := `"in":7,"out":8,"items":[` + tt.want + `],"result":`
			if len(tt.items) == 0 {
				want = `"in":7,"out":8,"result":`
			}
			if !bytes.Contains(line, []byte(want)) {
				t.Errorf("got  %s\nwant %s", line, want)
			}
			if l, v := parseLine(line); v != lineWhole || l.items != len(tt.items) {
				t.Errorf("verdict %d with %d items: %s", v, l.items, line)
			}
			if bytes.IndexByte(line, '\n') != len(line)-1 || !utf8.Valid(line) || !json.Valid(line) {
				t.Errorf("not one line of JSON: %q", line)
			}
		})
	}
}

// What stands in a line can be read back exactly, and a record without items has the line it always had.
func TestLargeSizesAreExact(t *testing.T) {
	for _, n := range []int{1<<53 + 1, math.MaxInt64 - 1, math.MaxInt64} {
		line := encoded(&Record{In: n, Out: n - 1, Items: []Item{{In: n, Out: n - 1}}, Result: Success})
		var back struct {
			In, Out int64
			Items   [][]int64
		}
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
		if back.In != int64(n) || back.Out != int64(n-1) || !slices.Equal(back.Items[0], []int64{int64(n), int64(n - 1)}) {
			t.Errorf("%d became %+v", n, back)
		}
		if _, v := parseLine(line); v != lineWhole {
			t.Errorf("verdict %d: %s", v, line)
		}
	}
}

func TestLongestLineWithItemsFits(t *testing.T) {
	r, node := longest(), strings.Repeat("n", maxNode)
	b := appendItems(nil, r, nil)
	if len(b) != maxItems {
		t.Errorf("the longest items take %d bytes, the bound is %d", len(b), maxItems)
	}
	body := appendBody(nil, node, r.Time, r)
	head := hexOf([HashBytes]byte{})
	line := append(appendRecordStart(nil, math.MaxUint64, math.MaxUint64-1, &head), body...)
	line, _ = appendHash(line, 0, &head)
	if len(line) > maxLine {
		t.Errorf("a line of %d bytes, %d are allowed", len(line), maxLine)
	}
	if l, v := parseLine(line); v != lineWhole || l.items != MaxItems {
		t.Errorf("verdict %d with %d items", v, l.items)
	}
	if n := int64(maxHeader + len(body) + chainOverhead); n > minSegmentBytes/2 {
		t.Errorf("a header and a line of together %d bytes do not fit into the smallest segment beside its reserve", n)
	}
	if shortLine != 4608 || maxLine != 311618 || minSegmentBytes != 640<<10 {
		t.Errorf("bounds of %d, %d and %d bytes are not the documented ones", shortLine, maxLine, minSegmentBytes)
	}
}

func TestEachBeginningOfItemsIsShort(t *testing.T) {
	line := encoded(&Record{KeyID: "k", Result: Success, Items: append([]Item{
		{In: 10, Out: 200}, {Code: "c"}, {Cause: "d"}, {KeyID: "l"}, {In: 1, Out: 2, KeyID: "kk", Code: "é\n", Cause: "\\"},
	}, hostileItems...)})
	for n := range line {
		if _, v := parseLine(line[:n]); v != lineShort {
			t.Fatalf("cut to %q: verdict %d, want short", line[:n], v)
		}
	}
}

// Lines whose hash is right, but which no log writes. Each is bad from where that is certain, so it is no torn tail either.
func TestForeignItemsAreBad(t *testing.T) {
	const good = `"items":[[1,2],[3,4,"c"],[5,6,"","d"],[7,8,"","","l"]]`
	base := `{"v":1,"seq":2,"synced":1,"prev":"` + strings.Repeat("0", 64) + `","time":"2026-01-02T03:04:05Z","node":"n","key_id":"k",` +
		`"in":0,"out":0,` + good + `,"result":"success","latency_us":1`
	if _, v := parseLine(rehashed(base)); v != lineWhole {
		t.Fatalf("the line to start from is not accepted: %s", base)
	}
	thousand := strings.Repeat("[1,2],", 1000)
	tests := []struct{ name, new string }{
		{"no items", `"items":[]`},
		{"null", `"items":null`},
		{"object", `"items":{}`},
		{"empty item", `"items":[[]]`},
		{"one number", `"items":[[1]]`},
		{"three numbers", `"items":[[1,2,3]]`},
		{"number and not an item", `"items":[1,2]`},
		{"text for a number", `"items":[["1",2]]`},
		{"negative", `"items":[[-1,2]]`},
		{"fraction", `"items":[[1.0,2]]`},
		{"exponent", `"items":[[1,2e3]]`},
		{"leading zero", `"items":[[01,2]]`},
		{"number past an int", `"items":[[1,9223372036854775808]]`},
		{"first number past an int", `"items":[[9223372036854775808,1]]`},
		{"space", `"items":[[1, 2]]`},
		{"space between", `"items":[[1,2], [1,2]]`},
		{"comma at the end of an item", `"items":[[1,2,]]`},
		{"comma at the end", `"items":[[1,2],]`},
		{"no comma between", `"items":[[1,2][1,2]]`},
		{"not closed", `"items":[[1,2]`},
		{"closed twice", `"items":[[1,2]]]`},
		{"empty code", `"items":[[1,2,""]]`},
		{"empty cause", `"items":[[1,2,"c",""]]`},
		{"empty key id", `"items":[[1,2,"c","d",""]]`},
		{"nothing but empty text", `"items":[[1,2,"","",""]]`},
		{"the record's key id", `"items":[[1,2,"","","k"]]`},
		{"four texts", `"items":[[1,2,"c","d","l","m"]]`},
		{"long code", `"items":[[1,2,"` + strings.Repeat("s", 65) + `"]]`},
		{"long cause", `"items":[[1,2,"","` + strings.Repeat("s", 65) + `"]]`},
		{"long key id", `"items":[[1,2,"","","` + strings.Repeat("s", 129) + `"]]`},
		{"needless escape", `"items":[[1,2,"\u0073"]]`},
		{"raw override", "\"items\":[[1,2,\"\u202e\"]]"},
		{"invalid UTF-8", "\"items\":[[1,2,\"\xff\"]]"},
		{"1001 items", `"items":[` + thousand + `[1,2]]`},
		{"repeated", good + "," + good},
		{"other place", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(base, good, tt.new, 1)
			if tt.name == "other place" {
				changed = strings.Replace(strings.Replace(base, ","+good, "", 1), `"in":0`, good+`,"in":0`, 1)
			}
			line := rehashed(changed)
			if _, v := parseLine(line); v != lineBad {
				t.Errorf("verdict %d, want bad: %s", v, line)
			}
			if _, v := parseLine(line[:bytes.Index(line, []byte(`"success"`))]); v != lineBad {
				t.Errorf("without its end: verdict %d, want bad", v)
			}
		})
	}
	if _, v := parseLine(rehashed(strings.Replace(base, good, `"items":[`+thousand[:len(thousand)-1]+`]`, 1))); v != lineWhole {
		t.Errorf("1000 items: verdict %d", v)
	}
	if _, v := parseLine(rehashed(strings.Replace(base, `"key_id":"k",`, ``, 1))); v != lineWhole {
		t.Errorf("no key id of the record: verdict %d", v)
	}
}

// A string that is too long does not pass for the beginning of a line, however little of the line there is.
func TestEndlessTextIsBad(t *testing.T) {
	line := encoded(&Record{Subject: "s", Items: []Item{{Code: "c"}}, Result: Success})
	for before, limit := range map[string]int{`"subject":"`: maxString, `[0,0,"`: maxItemWord} {
		i := bytes.Index(line, []byte(before)) + len(before)
		endless := append(bytes.Clone(line[:i]), strings.Repeat("s", limit)...)
		if _, v := parseLine(endless); v != lineShort {
			t.Errorf("%d bytes after %s: verdict %d, want short", limit, before, v)
		}
		if _, v := parseLine(append(endless, "ss"...)); v != lineBad {
			t.Errorf("%d bytes after %s: verdict %d, want bad", limit+2, before, v)
		}
	}
}

func TestTooManyItems(t *testing.T) {
	d := newFaulty()
	cfg := longConfig(t)
	cfg.storage = d
	l := mustOpen(t, cfg)
	if _, err := l.Append(longest()); err != nil {
		t.Fatal(err)
	}
	awaitSpare(l)
	before, writes := l.Status(), d.writes.Load()
	r := manyOf(MaxItems + 1)
	_, err := l.Append(r)
	if fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), "the record has 1001 items, 1000 are allowed") {
		t.Fatalf("Append: %v", err)
	}
	if s := l.Status(); s.Sequence != before.Sequence || s.BytesLeft != before.BytesLeft || d.writes.Load() != writes {
		t.Errorf("something was written: %+v, before %+v", s, before)
	}
	r.Items = r.Items[1:]
	if got, err := l.Append(r); err != nil || got.Sequence != 2 {
		t.Errorf("1000 items: %v, %v", got, err)
	}
	mustClose(t, l)
	if report := mustVerify(t, cfg.Dir, 2, 2); report.Items != 2*MaxItems {
		t.Errorf("%d items are counted", report.Items)
	}
}

func TestItemsTakeNoMemory(t *testing.T) {
	for name, r := range map[string]*Record{"plain": manyOf(100), "longest": longest(), "hostile": {Items: hostileItems, Result: Denied}} {
		b := appendBody(nil, "node-1", r.Time, r)
		if n := testing.AllocsPerRun(10, func() { b = appendBody(b[:0], "node-1", r.Time, r) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzItems: in a line whose hash is right the parser accepts items only in the form that the log gives to what they say.
func FuzzItems(f *testing.F) {
	member := func(keyID string, items ...Item) string {
		return string(appendItems(nil, &Record{KeyID: keyID, Items: items}, []byte(keyID)))
	}
	seeds := []string{
		"", member("k", Item{}), member("k", manyOf(3).Items...), member("k", hostileItems...),
		member("k", Item{KeyID: "l"}, Item{Code: "c"}, Item{Cause: "d", In: 1<<53 + 1}), member("k", longestOf(2).Items...),
		`,"items":[]`, `,"items":[[1,2,"","","k"]]`, `,"items":[[1,2,"c",""]]`, `,"items":[[01,2]]`,
	}
	if len(seeds) != 10 {
		f.Fatalf("%d seeds", len(seeds))
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, items string) {
		line := rehashed(`{"v":1,"seq":2,"synced":1,"prev":"` + strings.Repeat("0", 64) +
			`","time":"2026-01-02T03:04:05Z","node":"n","key_id":"k","in":0,"out":0` + items + `,"result":"success","latency_us":1`)
		l, v := parseLine(line)
		if v != lineWhole {
			return
		}
		var back struct{ Items [][]any }
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&back); err != nil || len(back.Items) != l.items {
			t.Fatalf("%d items, %v: %q", l.items, err, line)
		}
		r := &Record{KeyID: "k"}
		for _, values := range back.Items {
			size := func(i int) int {
				n, err := values[i].(json.Number).Int64()
				if err != nil {
					t.Fatal(err)
				}
				return int(n)
			}
			item := Item{In: size(0), Out: size(1)}
			for i, field := range []*string{&item.Code, &item.Cause, &item.KeyID} {
				if 2+i < len(values) {
					*field = values[2+i].(string)
				}
			}
			r.Items = append(r.Items, item)
		}
		if again := string(appendItems(nil, r, []byte("k"))); again != items {
			t.Fatalf("accepted %q, the log writes %q", items, again)
		}
	})
}

func rehashed(s string) []byte {
	var head [hashHex]byte
	b, _ := appendHash([]byte(s), 0, &head)
	return b
}
