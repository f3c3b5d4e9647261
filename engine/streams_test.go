package engine_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/stream"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

// into returns a Begin that collects the output and remembers what was told.
func into(out *bytes.Buffer, info *engine.StreamInfo) engine.Begin {
	return func(i engine.StreamInfo) (io.Writer, error) {
		*info = i
		return out, nil
	}
}

func (w *world) encryptStream(context string, plaintext []byte, aad string) []byte {
	w.t.Helper()
	var out bytes.Buffer
	var info engine.StreamInfo
	in := &engine.StreamRequest{Context: context, AssociatedData: []byte(aad), Length: int64(len(plaintext))}
	if err := w.engine.EncryptStream(w.t.Context(), w.call(), in, bytes.NewReader(plaintext), into(&out, &info)); err != nil {
		w.t.Fatal(err)
	}
	if info.Length != int64(out.Len()) {
		w.t.Fatalf("%d bytes were announced, %d came", info.Length, out.Len())
	}
	return out.Bytes()
}

func (w *world) decryptStream(in *engine.StreamRequest, frame []byte) ([]byte, engine.StreamInfo, error) {
	var out bytes.Buffer
	var info engine.StreamInfo
	in.Length = int64(len(frame))
	err := w.engine.DecryptStream(w.t.Context(), w.call(), in, bytes.NewReader(frame), into(&out, &info))
	return out.Bytes(), info, err
}

func TestStreams(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, 1, 65_536 - 56, 65_536 - 55, 200_000, 1 << 20} {
		plaintext := pattern(n)
		frame := w.encryptStream("user-pii", plaintext, "aad")
		if r := w.audit.last.Load(); r.In != n || r.Out != len(frame) || r.Result != audit.Success || r.Action != "crypto.encrypt-stream" {
			t.Fatalf("%+v", r)
		}
		in := &engine.StreamRequest{Context: "user-pii", AssociatedData: []byte("aad")}
		got, info, err := w.decryptStream(in, frame)
		if err != nil || !bytes.Equal(got, plaintext) || info.Rewrap || info.Total != int64(n) {
			t.Fatalf("%d bytes: %+v, %v", n, info, err)
		}
		if r := w.audit.last.Load(); r.In != len(frame) || r.Out != n || r.Result != audit.Success {
			t.Fatalf("%+v", r)
		}
		for _, cut := range []int{0, 1, 300, len(frame) / 2, len(frame) - 1} {
			if got, _, err := w.decryptStream(in, frame[:cut]); err == nil || n > 0 && bytes.Equal(got, plaintext) {
				t.Fatalf("%d bytes, cut after %d: whole, %v", n, cut, err)
			}
			if r := w.audit.last.Load(); r.Result != audit.Denied || r.Code != "decrypt-failed" {
				t.Fatalf("a cut stream is recorded as %+v", r)
			}
		}
	}
}

// TestStreamRefusals: before the first byte of the output every refusal is an ordinary error.
func TestStreamRefusals(t *testing.T) {
	w := newWorld(t)
	w.newContext(w.tenant, engine.ContextSpec{Name: "quantum", QuantumSafe: true})
	w.newContext(w.tenant, engine.ContextSpec{Name: "chacha", Algorithm: algs.ChaCha20Poly1305})
	w.app = w.newApplication(w.tenant, "all", "quantum", "chacha", "legacy", "user-pii", "payment-data")
	var out bytes.Buffer
	var info engine.StreamInfo
	for context, want := range map[string]fault.Kind{
		"quantum": fault.AlgorithmDisallowed, "chacha": fault.AlgorithmDisallowed, "legacy": fault.AlgorithmDisallowed, "closed": fault.Forbidden,
		"No": fault.Malformed,
	} {
		in := &engine.StreamRequest{Context: context, Length: -1}
		if err := w.engine.EncryptStream(t.Context(), w.call(), in, bytes.NewReader(nil), into(&out, &info)); !errors.Is(err, want) {
			t.Errorf("%s: %v", context, err)
		}
	}
	frame := w.encryptStream("user-pii", pattern(1000), "aad")
	for name, c := range map[string]struct {
		in    engine.StreamRequest
		frame []byte
		want  fault.Kind
	}{
		"another context":   {engine.StreamRequest{Context: "payment-data", AssociatedData: []byte("aad")}, frame, fault.ContextMismatch},
		"header rewritten":  {engine.StreamRequest{Context: "payment-data", AssociatedData: []byte("aad")}, reheader(t, frame, "user-pii", "payment-data"), fault.DecryptFailed},
		"unknown key":       {engine.StreamRequest{Context: "user-pii", AssociatedData: []byte("aad")}, reheader(t, frame, `"kid":"key_`, `"kid":"kex_`), fault.DecryptFailed},
		"other data":        {engine.StreamRequest{Context: "user-pii"}, frame, fault.DecryptFailed},
		"not granted":       {engine.StreamRequest{Context: "closed"}, frame, fault.Forbidden},
		"no frame":          {engine.StreamRequest{Context: "user-pii"}, pattern(500), fault.DecryptFailed},
		"range behind it":   {engine.StreamRequest{Context: "user-pii", AssociatedData: []byte("aad"), Range: &engine.ByteRange{From: 1001, To: 1002}}, frame, fault.Malformed},
		"a segment flipped": {engine.StreamRequest{Context: "user-pii", AssociatedData: []byte("aad")}, append(bytes.Clone(frame[:len(frame)-1]), frame[len(frame)-1]^1), fault.DecryptFailed},
	} {
		out.Reset()
		c.in.Length = int64(len(c.frame))
		err := w.engine.DecryptStream(t.Context(), w.call(), &c.in, bytes.NewReader(c.frame), into(&out, &info))
		if !errors.Is(err, c.want) || out.Len() != 0 {
			t.Errorf("%s: %v, %d bytes came", name, err, out.Len())
		}
	}
	if _, err := w.decrypt("user-pii", frame, "aad"); !errors.Is(err, fault.DecryptFailed) {
		t.Errorf("a stream where a frame is wanted: %v", err)
	}
}

func TestStreamRanges(t *testing.T) {
	w := newWorld(t)
	plaintext := pattern(300_000)
	frame := w.encryptStream("user-pii", plaintext, "")
	whole := w.mustEncrypt("user-pii", string(plaintext), "").Ciphertext
	for _, source := range [][]byte{frame, whole} {
		for _, r := range []engine.ByteRange{{From: 0, To: 1}, {From: 65_500, To: 65_600}, {From: 299_999, To: 1 << 40}, {From: 100, To: 300_000}} {
			got, info, err := w.decryptStream(&engine.StreamRequest{Context: "user-pii", Range: &r}, source)
			want := plaintext[r.From:min(r.To, 300_000)]
			if err != nil || !bytes.Equal(got, want) || info.Length != int64(len(want)) || info.Total != 300_000 {
				t.Errorf("%+v: %d bytes, %+v, %v", r, len(got), info, err)
			}
		}
	}
}

// TestWholeFramesThroughTheStream: what is no stream opens where streams do.
func TestWholeFramesThroughTheStream(t *testing.T) {
	w := newWorld(t)
	for _, context := range []string{"user-pii", "legacy"} {
		frame := w.mustEncrypt(context, "plaintext", "aad").Ciphertext
		got, info, err := w.decryptStream(&engine.StreamRequest{Context: context, AssociatedData: []byte("aad")}, frame)
		if err != nil || string(got) != "plaintext" || info.Total != 9 {
			t.Errorf("%s: %+v, %v", context, info, err)
		}
	}
}

// TestWholeFramesAreBounded: a frame that has to be in memory has a longest length.
func TestWholeFramesAreBounded(t *testing.T) {
	w := newWorld(t)
	frame := w.mustEncrypt("user-pii", "plaintext", "").Ciphertext
	source := io.MultiReader(bytes.NewReader(frame), &trickle{data: make([]byte, 18<<20), part: 1 << 20})
	var out bytes.Buffer
	var info engine.StreamInfo
	in := &engine.StreamRequest{Context: "user-pii", Length: -1}
	if err := w.engine.DecryptStream(t.Context(), w.call(), in, source, into(&out, &info)); !errors.Is(err, fault.TooLarge) {
		t.Fatal(err)
	}
}

// trickle gives its bytes a part at a time and runs a hook before one of the parts.
type trickle struct {
	data []byte
	part int
	hook func()
	at   int
}

func (r *trickle) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	if r.at == 0 && r.hook != nil {
		r.hook()
	}
	r.at--
	n := copy(p, r.data[:min(r.part, len(r.data))])
	r.data = r.data[n:]
	return n, nil
}

// TestInvariant04StreamEndsWithItsRight: a right that is lost in the middle ends the stream before its end, so that it is
// never whole.
func TestInvariant04StreamEndsWithItsRight(t *testing.T) {
	w, l := newShiftingWorld(t)
	plaintext := pattern(1 << 20)
	frame := w.encryptStream("user-pii", plaintext, "")
	for name, c := range map[string]struct {
		edits edits
		want  fault.Kind
	}{
		"application disabled": {edits{application: func(a *directory.Application) { a.Status = directory.Disabled }}, fault.Unauthenticated},
		"grant taken":          {edits{application: func(a *directory.Application) { a.Grants = nil }}, fault.Forbidden},
		"context disabled":     {edits{context: func(c *directory.Context) { c.Status = directory.Disabled }}, fault.Forbidden},
		"version compromised":  {edits{version: func(v *keys.Version) { v.State = keys.Compromised }}, fault.KeyState},
	} {
		t.Run(name, func(t *testing.T) {
			hook := func() { l.shift(&c.edits, early) }
			var out bytes.Buffer
			var info engine.StreamInfo
			in := &engine.StreamRequest{Context: "user-pii", Length: -1}
			err := w.engine.EncryptStream(t.Context(), w.call(), in, &trickle{data: plaintext, part: 64 << 10, hook: hook, at: 8}, into(&out, &info))
			l.restore()
			if !errors.Is(err, c.want) || out.Len() == 0 || out.Len() > len(plaintext) {
				t.Fatalf("encrypt: %d bytes, %v", out.Len(), err)
			}
			if got, _, err := w.decryptStream(&engine.StreamRequest{Context: "user-pii"}, out.Bytes()); err == nil {
				t.Fatalf("what was cut off is whole: %d bytes", len(got))
			}
			out.Reset()
			err = w.engine.DecryptStream(t.Context(), w.call(), &engine.StreamRequest{Context: "user-pii", Length: -1},
				&trickle{data: frame, part: 64 << 10, hook: hook, at: 8}, into(&out, &info))
			l.restore()
			if !errors.Is(err, c.want) || out.Len() == 0 || out.Len() >= len(plaintext) {
				t.Fatalf("decrypt: %d bytes, %v", out.Len(), err)
			}
		})
	}
}

// TestStreamOutlivesARotation: a rotation takes no right away.
func TestStreamOutlivesARotation(t *testing.T) {
	w := newWorld(t)
	var out bytes.Buffer
	var info engine.StreamInfo
	plaintext := pattern(1 << 20)
	in := &engine.StreamRequest{Context: "user-pii", Length: -1}
	source := &trickle{data: plaintext, part: 64 << 10, hook: func() { w.rotate("user-pii") }, at: 8}
	if err := w.engine.EncryptStream(t.Context(), w.call(), in, source, into(&out, &info)); err != nil {
		t.Fatal(err)
	}
	got, after, err := w.decryptStream(&engine.StreamRequest{Context: "user-pii"}, out.Bytes())
	if err != nil || !bytes.Equal(got, plaintext) || !after.Rewrap {
		t.Fatalf("%+v, %v", after, err)
	}
}

// TestInvariant03StreamEndsOnlyWithItsRecord: when the record of the end cannot be written, the stream stays without its end.
func TestInvariant03StreamEndsOnlyWithItsRecord(t *testing.T) {
	w := newWorld(t)
	plaintext := pattern(300_000)
	frame := w.encryptStream("user-pii", plaintext, "")
	fail := func() { w.audit.fail.Store(true) }
	var out bytes.Buffer
	var info engine.StreamInfo
	err := w.engine.EncryptStream(t.Context(), w.call(), &engine.StreamRequest{Context: "user-pii", Length: -1},
		&trickle{data: plaintext, part: 64 << 10, hook: fail, at: 2}, into(&out, &info))
	w.audit.fail.Store(false)
	if !errors.Is(err, fault.AuditUnavailable) {
		t.Fatal(err)
	}
	if _, _, err := w.decryptStream(&engine.StreamRequest{Context: "user-pii"}, out.Bytes()); err == nil {
		t.Fatal("it is whole all the same")
	}
	out.Reset()
	err = w.engine.DecryptStream(t.Context(), w.call(), &engine.StreamRequest{Context: "user-pii", Length: -1},
		&trickle{data: frame, part: 64 << 10, hook: fail, at: 2}, into(&out, &info))
	w.audit.fail.Store(false)
	if !errors.Is(err, fault.AuditUnavailable) || out.Len() >= len(plaintext) {
		t.Fatalf("%d bytes, %v", out.Len(), err)
	}
	w.audit.fail.Store(true)
	out.Reset()
	err = w.engine.EncryptStream(t.Context(), w.call(), &engine.StreamRequest{Context: "user-pii", Length: -1}, bytes.NewReader(plaintext), into(&out, &info))
	w.audit.fail.Store(false)
	if !errors.Is(err, fault.AuditUnavailable) || out.Len() != 0 {
		t.Fatalf("without the record of its beginning: %d bytes, %v", out.Len(), err)
	}
}

// TestStreamBreaksOff: a source that breaks gives no whole stream, and an error that is not the node's.
func TestStreamBreaksOff(t *testing.T) {
	w := newWorld(t)
	var out bytes.Buffer
	var info engine.StreamInfo
	broken := io.MultiReader(bytes.NewReader(pattern(100_000)), errReader{})
	err := w.engine.EncryptStream(t.Context(), w.call(), &engine.StreamRequest{Context: "user-pii", Length: -1}, broken, into(&out, &info))
	if !errors.Is(err, fault.Malformed) {
		t.Fatal(err)
	}
	if _, _, err := w.decryptStream(&engine.StreamRequest{Context: "user-pii"}, out.Bytes()); err == nil {
		t.Fatal("it is whole all the same")
	}
	if stream.SegmentBytes != 65536 {
		t.Fatal("the segment is another")
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
