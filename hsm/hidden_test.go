package hsm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/miekg/pkcs11"
	"golang.org/x/sys/unix"
)

// masked is a key that this process knows without holding it: the bytes are the exclusive or of the two.
type masked struct{ one, two [keyBytes]byte }

// at returns byte i. Nobody may put them side by side.
func (m *masked) at(i int) byte { return m.one[i] ^ m.two[i] }

// form is a way to write the key: its length, and each byte of it by itself.
type form struct {
	name   string
	length int
	at     func(i int) byte
}

func (m *masked) forms() []form {
	sixBits := func(i int) byte {
		first, shift := i*6/8, 10-i*6%8
		pair := uint16(m.at(first)) << 8
		if first+1 < keyBytes {
			pair |= uint16(m.at(first + 1))
		}
		return byte(pair >> shift & 63)
	}
	forms := []form{{"raw", keyBytes, m.at}, {"reversed", keyBytes, func(i int) byte { return m.at(keyBytes - 1 - i) }}}
	for name, digits := range map[string]string{"hex": "0123456789abcdef", "HEX": "0123456789ABCDEF"} {
		forms = append(forms, form{name, 2 * keyBytes, func(i int) byte { return digits[m.at(i/2)>>(4*(1-i%2))&15] }})
	}
	for name, alphabet := range map[string]string{
		"base64":    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
		"base64url": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
	} {
		// 42 characters are the same with and without padding.
		forms = append(forms, form{name, 42, func(i int) byte { return alphabet[sixBits(i)] }})
	}
	return forms
}

// find returns where the form begins in b. It compares byte by byte, so that no copy of the key is made.
func (f *form) find(b []byte) (found []int) {
	first, second := f.at(0), f.at(1)
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], first)
		if i < 0 || from+i+f.length > len(b) {
			return found
		}
		at := from + i
		from = at + 1
		if b[at+1] != second {
			continue
		}
		n := 2
		for n < f.length && b[at+n] == f.at(n) {
			n++
		}
		if n == f.length {
			found = append(found, at)
		}
	}
}

// scan looks for every form of the key in all memory of this process that it may write, and names the mapping of each. The window
// through which it looks is no part of that.
func (m *masked) scan(tb testing.TB) (found []string, scanned int) {
	tb.Helper()
	window, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = unix.Munmap(window) }()
	own := uint64(uintptr(unsafe.Pointer(&window[0])))
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		tb.Fatal(err)
	}
	defer memory.Close()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		tb.Fatal(err)
	}
	forms := m.forms()
	lines := bufio.NewScanner(bytes.NewReader(maps))
	for lines.Scan() {
		var begin, end uint64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &begin, &end, &rights); err != nil {
			tb.Fatal(err)
		}
		if !strings.HasPrefix(rights, "rw") {
			continue
		}
		const overlap = 2 * keyBytes
		for at := begin; at < end; at += uint64(len(window) - overlap) {
			n := min(uint64(len(window)), end-at)
			if at < own+uint64(len(window)) && own < at+n {
				if own+uint64(len(window)) >= end && own <= at {
					break // nothing but the window
				}
				// The kernel joined the window to its neighbours: look at what is before it, then go on behind it.
				if at >= own {
					at = own + uint64(overlap)
					continue
				}
				n = own - at
			}
			got, err := memory.ReadAt(window[:n], int64(at)) // #nosec G115 -- an address of this process
			if err != nil {
				break // pages that cannot be read, or went meanwhile
			}
			scanned += got
			for i := range forms {
				for _, offset := range forms[i].find(window[:got]) {
					found = append(found, fmt.Sprintf("%s at 0x%x in %s", forms[i].name, at+uint64(offset), lines.Text()))
				}
			}
			clear(window[:got])
		}
	}
	return found, scanned
}

// makeKnownMaster makes a provisioned token whose master key is known: a token that made it itself would not tell.
func makeKnownMaster(o order) error {
	ctx := context.Background()
	t, err := Open(ctx, Config{Module: o.Module, TokenLabel: o.Token, PIN: pin(string(o.PIN))})
	if err != nil {
		return err
	}
	key := make([]byte, keyBytes)
	for i := range key {
		key[i] = o.Masked[i] ^ o.Mask[i]
	}
	err = t.do(ctx, "test", func(s *session) error {
		for i := 1; i < len(specs); i++ {
			if _, err := t.generate(s, &specs[i]); err != nil {
				return err
			}
		}
		master := object{class: specs[0].private.class, attributes: replacedAll(specs[0].private.attributes, key)}
		template, free, err := master.template(LabelMaster)
		if err != nil {
			return err
		}
		defer free()
		_, err = t.module.CreateObject(s.handle, template)
		return err
	})
	return errors.Join(err, t.Load(ctx), t.Close(ctx))
}

// replacedAll gives the value in the place of its length.
func replacedAll(rows []attribute, value []byte) []attribute {
	rows = append([]attribute(nil), rows...)
	for i := range rows {
		if rows[i].typ == pkcs11.CKA_VALUE_LEN {
			rows[i] = attribute{"CKA_VALUE", pkcs11.CKA_VALUE, value}
		}
	}
	return rows
}

// newKnownGiver returns a closed token whose master key is known, beside the token that waits for the keys of a cluster.
func newKnownGiver(tb testing.TB) (*rig, *masked) {
	tb.Helper()
	var key masked
	for _, half := range [][]byte{key.one[:], key.two[:]} {
		if _, err := rand.Read(half); err != nil {
			tb.Fatal(err)
		}
	}
	_, joiner := newPair(tb)
	if err := InitToken(joiner.cfg.Module, "known", pin(testSOPIN), pin(testPIN)); err != nil {
		tb.Fatal(err)
	}
	if err := child(tb.Context(), "known master", order{Module: joiner.cfg.Module, Token: "known", PIN: []byte(testPIN),
		Masked: key.one[:], Mask: key.two[:]}); err != nil {
		tb.Fatal(err)
	}
	return pairRig(tb, joiner.cfg.Module, joiner.store, "known"), &key
}

// The master key of the token is known to this test, and to nothing else in this process, which does the work of both sides:
// between calls neither the memory of the process, the module's included, nor what goes over the wire, nor the files of the tokens
// hold it. What the module has during a call shows TestMasterKeyIsInTheModuleOnly.
func TestTransferHidesTheMasterKey(t *testing.T) {
	giver, key := newKnownGiver(t)
	joiner := pairRig(t, giver.cfg.Module, giver.store, joinerLabel)
	look := func(when string) {
		t.Helper()
		found, scanned := key.scan(t)
		for _, f := range found {
			t.Errorf("%s: the master key is in memory: %s", when, f)
		}
		if scanned < 4<<20 {
			t.Errorf("%s: only %d bytes of memory were looked at", when, scanned)
		}
	}

	if err := giver.open(t).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	look("loaded")
	transfer, err := giver.TransferKeys(t.Context(), prepared.join.Join, prepared.join.OAEPHash,
		func(ctx context.Context, label string) error {
			defer look("while the officer works")
			return giver.officer(prepared.join.Join)(ctx, label)
		})
	if err != nil {
		t.Fatal(err)
	}
	look("wrapped")
	giver.closeNow(t)
	if err := joiner.open(t).ReceiveKeys(t.Context(), transfer); err != nil {
		t.Fatal(err)
	}
	look("received")
	derived := joiner.mustExpand(t)
	joiner.closeNow(t)
	look("closed")

	// The wire, the log and the files.
	texts := map[string][]byte{"wire": bytes.Join([][]byte{transfer.Master, transfer.WrapPrivate, transfer.WrapSecret,
		transfer.KeyCheckValues.Master}, nil), "log": append(giver.log.b.Bytes(), joiner.log.b.Bytes()...)}
	for _, path := range objectFiles(t, joiner) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = raw
	}
	for name, text := range texts {
		for _, f := range key.forms() {
			if len(f.find(text)) > 0 {
				t.Errorf("the master key is in %s, %s", name, f.name)
			}
		}
	}

	// It was that key: from here on this process holds it, and the search finds each form of it.
	raw := make([]byte, keyBytes)
	for i := range raw {
		raw[i] = key.at(i)
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte("info\x01"))
	if !bytes.Equal(mac.Sum(nil), derived) {
		t.Fatal("the joiner has another master key")
	}
	copies := []any{&raw, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), base64.StdEncoding.EncodeToString(raw),
		base64.RawURLEncoding.EncodeToString(raw)}
	withSession(t, joiner.open(t), func(s *session) {
		// In the module's memory it would be found, too: as the label of an object it is no secret there.
		public := append(knownSecret(make([]byte, keyBytes)), pkcs11.NewAttribute(pkcs11.CKA_LABEL, raw))
		public[3] = pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false)
		if _, err := joiner.module.CreateObject(s.handle, public); err != nil {
			t.Fatal(err)
		}
		found, _ := key.scan(t)
		for _, name := range []string{"raw", "hex", "HEX", "base64", "base64url"} {
			if !strings.Contains(strings.Join(found, "\n"), name+" at") {
				t.Errorf("the search does not find %s", name)
			}
		}
		places := map[string]bool{}
		for _, f := range found {
			if name, mapping, _ := strings.Cut(f, " in "); strings.HasPrefix(name, "raw") {
				places[mapping] = true
			}
		}
		if len(places) < 2 {
			t.Errorf("the search does not find the copy that the module has: %v", found)
		}
	})
	runtime.KeepAlive(copies)
}

// While the module works with the key it holds it in clear, in memory of its own that it overwrites afterwards (measured: one to
// three copies in malloc arenas and on its stacks during C_Sign and C_WrapKey, none between calls). The Go heap never does.
func TestMasterKeyIsInTheModuleOnly(t *testing.T) {
	giver, key := newKnownGiver(t)
	if err := giver.open(t).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for ctx.Err() == nil {
				_, _ = giver.Expand(ctx, []byte("info"), 32) // its end may be refused
			}
		})
	}
	heap := uint64(uintptr(unsafe.Pointer(new([64 << 10]byte))))
	for range 4 {
		if _, err := giver.TransferKeys(t.Context(), prepared.join.Join, SHA1, giver.officer(prepared.join.Join)); err != nil {
			t.Error(err)
		}
		found, _ := key.scan(t)
		for _, f := range found {
			var name string
			var at uint64
			if _, err := fmt.Sscanf(f, "%s at 0x%x", &name, &at); err != nil {
				t.Fatal(err)
			}
			if distance := max(at, heap) - min(at, heap); name != "raw" || distance < 64<<30 {
				t.Errorf("the master key is in the Go heap: %s", f)
			}
		}
	}
	cancel()
	workers.Wait()
	if found, _ := key.scan(t); len(found) > 0 {
		t.Errorf("left after the work: %v", found)
	}
}
