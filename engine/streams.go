package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/envelope"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/stream"
)

// StreamRequest asks to encrypt or decrypt data of any size.
type StreamRequest struct {
	Context        string
	AssociatedData []byte
	// Length is the number of bytes of the input, -1 when it is not known.
	Length int64
	// Range is the part of the plaintext that a decryption is to give; nil means all of it.
	Range *ByteRange
}

// ByteRange is the bytes [From, To) of a plaintext. To may lie behind its end.
type ByteRange struct{ From, To int64 }

// StreamInfo tells what is known before the first byte of the output.
type StreamInfo struct {
	KeyID     string
	Algorithm string
	Format    int
	Rewrap    bool
	Warnings  []string
	// Length is the number of bytes of the output, -1 when it is not known. Total is that of the whole plaintext, of which
	// a range is a part. They are claims of whoever sent the input until the end has been authenticated.
	Length, Total int64
}

// Begin is told when a stream is allowed and its start recorded, and returns where the output goes. No error can be
// answered in order after it.
type Begin func(StreamInfo) (io.Writer, error)

// maxWholeFrame is the longest frame that is not a stream and comes where a stream may.
const maxWholeFrame = 17 << 20

// EncryptStream encrypts src in constant memory (format 4 with segments). The record of its end is durable before the last
// segment, without which no reader takes the stream for whole, leaves.
func (e *Engine) EncryptStream(ctx context.Context, c *Call, in *StreamRequest, src io.Reader, begin Begin) error {
	r := c.begin(policy.EncryptStream)
	r.Context = in.Context
	w, sealing, err := e.beginEncryptStream(ctx, c, in, &r, begin)
	if err != nil {
		return e.finish(c, &r, err)
	}
	n, err := sealing.ReadFrom(src)
	if err == nil {
		err = w.last()
	}
	if err == nil {
		row, _ := algs.Lookup(algs.AES256GCM)
		err = e.endStream(c, policy.EncryptStream, in.Context, row, in.Length, n, &r)
	}
	if err == nil {
		w.use.protect(1, e.second.Load())
	}
	r.In, r.Out = int(n), len(w.prefix)+int(stream.CiphertextLength(n))
	if err := e.finish(c, &r, streamFault(err)); err != nil {
		return err
	}
	return sealing.Close()
}

func (e *Engine) beginEncryptStream(
	ctx context.Context, c *Call, in *StreamRequest, r *audit.Record, begin Begin,
) (*guard, *stream.Writer, error) {
	p, err := e.authorize(c, policy.EncryptStream, in.Context)
	if err != nil {
		return nil, nil, err
	}
	if err := e.spendShare(c.Subject, p, 1); err != nil {
		return nil, nil, err
	}
	chosen, err := e.streamSuite(p)
	if err != nil {
		return nil, nil, err
	}
	v, row := p.active, chosen.row
	if err := protects(v); err != nil {
		return nil, nil, err
	}
	told, err := e.decide(p, keys.Protect, row, int(max(in.Length, sizeUnknown)), r)
	if err != nil {
		return nil, nil, err
	}
	d, err := e.dek(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	prefix, key, err := envelope.StreamHeader(envelope.Params{Format: 4, Context: v.Context, KeyID: v.ID, Algorithm: algs.AES256GCM}, d.key.Reveal())
	d.release()
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, "engine.stream", "", err)
	}
	defer clear(key)
	r.KeyID, r.Algorithm, r.Format = v.ID, string(algs.AES256GCM), 4
	if err := e.recordStart(c, r); err != nil {
		return nil, nil, err
	}
	info := StreamInfo{KeyID: v.ID, Algorithm: r.Algorithm, Format: 4, Warnings: joined(chosen.warnings, told), Length: -1, Total: in.Length}
	if in.Length >= 0 {
		info.Length = int64(len(prefix)) + stream.CiphertextLength(in.Length)
	}
	out, err := begin(info)
	if err != nil {
		return nil, nil, err
	}
	w := &guard{
		w: out, prefix: prefix, use: p.use, epoch: p.epoch, engine: e, ctx: ctx, call: c, plan: p,
		recheck: func() error { return e.streamStillAllowed(c, policy.EncryptStream, p, v.ID, row, r) },
	}
	sealing, err := stream.NewWriter(w, key, joinBytes(prefix, in.AssociatedData))
	return w, sealing, err
}

// streamSuite is what a stream is encrypted with.
func (e *Engine) streamSuite(p *plan) (suite, error) {
	if p.ownErr != nil {
		return suite{}, p.ownErr
	}
	if p.context.Format != 4 || p.own.row.Class != algs.ClassAEAD {
		return suite{}, disallowed("streams need a context of format 4 whose key is derived; this one is of " + string(p.context.Algorithm))
	}
	row, _ := algs.Lookup(algs.AES256GCM)
	if p.context.Algorithm == algs.AES256GCM {
		return suite{row, p.own.warnings}, nil
	}
	warning, allowed := policy.Algorithm(p.context, row)
	if !allowed {
		return suite{}, disallowed("streams are encrypted with AES-256-GCM, which the context's policy does not allow")
	}
	return suite{row, notes(warning, "streams are encrypted with AES-256-GCM")}, nil
}

// recordStart writes the record that stands before a stream, whose end may never come.
func (e *Engine) recordStart(c *Call, r *audit.Record) error {
	r.Result = audit.Started
	return e.record(c, r)
}

// guard passes a stream on to where it goes, behind its prefix, as long as its right stands: before each segment it asks whether
// this node may still answer from its records, and looks at them when they may have changed.
type guard struct {
	ctx     context.Context // of the call, which the stream lasts as long as
	call    *Call
	plan    *plan
	w       io.Writer
	prefix  []byte // written before the first segment
	began   bool
	use     *use // of the version that encrypts
	epoch   uint64
	engine  *Engine
	recheck func() error
	spend   func(bytes int) error // of the budget for decryption; nil when nothing is decrypted
	// In a strict context: when the log was asked last, and how many segments went out since.
	asked time.Time
	sent  int
}

// In a strict context the log is asked before the first segment, at the end, and again after so long or so many segments.
const (
	strictEvery    = time.Second
	strictSegments = 64 // 4 MiB
)

func (g *guard) Write(segment []byte) (int, error) {
	if err := g.check(); err != nil {
		return 0, err
	}
	if g.spend != nil {
		if err := g.spend(len(segment)); err != nil {
			return 0, err
		}
	}
	if !g.began {
		g.began = true
		if _, err := g.w.Write(g.prefix); err != nil {
			return 0, err
		}
	}
	return g.w.Write(segment)
}

// check looks whether the next segment may go out.
func (g *guard) check() error {
	if g.plan.strict() {
		since := g.engine.now().Sub(g.asked)
		if g.sent++; g.sent < strictSegments && !g.asked.IsZero() && since >= 0 && since < strictEvery {
			return g.look()
		}
	}
	return g.last()
}

// last is the decisive look at the end of a stream: in a strict context the log is asked in any case.
func (g *guard) last() error {
	if g.plan.strict() {
		g.asked, g.sent = g.engine.now(), 0
	}
	if err := g.engine.lookLate(g.ctx, g.call, g.plan); err != nil {
		return err
	}
	if err := g.look(); err != nil {
		return err
	}
	return g.engine.held(g.call)
}

func (g *guard) look() error {
	now := g.engine.ledger.Epoch()
	if now == g.epoch {
		return nil
	}
	if err := g.recheck(); err != nil {
		return err
	}
	g.epoch = now
	return nil
}

// streamStillAllowed decides anew about a stream that has begun. A rotation does not end it: the version that it began with
// may be deactivated by now, and nothing else.
func (e *Engine) streamStillAllowed(
	c *Call, action policy.Action, p *plan, keyID string, row algs.Row, r *audit.Record,
) error {
	now, err := e.authorize(c, action, p.context.Name)
	if err != nil {
		return err
	}
	if v := now.version(keyID); v == nil || !now.processes(v) {
		e.forget(keyID)
		return fault.New(fault.KeyState, "engine.stream", "the key version may no longer be used")
	}
	_, err = e.decide(now, policy.ClassOf(action), row, sizeUnknown, r)
	return err
}

// endStream decides at the end of a stream what could not be decided before: policies that ask for its size, when that was not
// known or was not what the caller had announced.
func (e *Engine) endStream(
	c *Call, action policy.Action, context string, row algs.Row, announced, size int64, r *audit.Record,
) error {
	if announced == size {
		return nil
	}
	p, err := e.authorize(c, action, context)
	if err != nil {
		return err
	}
	_, err = e.decide(p, policy.ClassOf(action), row, int(size), r)
	return err
}

// streamFault gives an error of the caller's connection a kind: it is not a failure of the node.
func streamFault(err error) error {
	if err == nil || fault.Of(err) != fault.Internal {
		return err
	}
	return fault.Wrap(fault.Malformed, "engine.stream", "the stream broke off", err)
}

func joinBytes(a, b []byte) []byte { return append(append(make([]byte, 0, len(a)+len(b)), a...), b...) }

// DecryptStream opens a stream, or a frame that is none, from src. Only authenticated plaintext is passed on; that the stream
// is whole is known at its end, so whoever gets the output must not take it for whole before this returns nil.
func (e *Engine) DecryptStream(ctx context.Context, c *Call, in *StreamRequest, src io.Reader, begin Begin) error {
	r := c.begin(policy.DecryptStream)
	r.Context = in.Context
	counted := &counter{r: src}
	err := e.decryptStream(ctx, c, in, &r, counted, begin)
	if ended(&r) { // the record of the end was written before the last segment left
		return err
	}
	r.In = counted.n
	return e.finish(c, &r, err)
}

func (e *Engine) decryptStream(ctx context.Context, c *Call, in *StreamRequest, r *audit.Record, src *counter, begin Begin) error {
	p, err := e.authorize(c, policy.DecryptStream, in.Context)
	if err != nil {
		return err
	}
	f, err := envelope.ReadHeader(src)
	if err != nil {
		if errors.Is(err, envelope.ErrFrame) {
			return decryptFailed(causeFrame)
		}
		return streamFault(err)
	}
	if !f.Stream {
		return e.decryptWhole(ctx, c, in, r, io.MultiReader(bytes.NewReader(f.Prefix()), src), begin)
	}
	if err := e.spendShare(c.Subject, p, 1); err != nil {
		return err
	}
	if err := e.spendBudget(c.Subject, p, 1, 0); err != nil {
		return err
	}
	o := opened{frame: f}
	if f.Context != p.context.Name {
		if _, err := e.authorize(c, policy.DecryptStream, f.Context); err == nil {
			return contextMismatch(f.Context, p.context.Name)
		}
		f.Pretend(nil)
		return decryptFailed(causeContext)
	}
	if err := e.decideOpening(p, &f, int(max(in.Length, sizeUnknown)), r); err != nil {
		return err
	}
	key, err := e.streamKey(ctx, p, &o, r)
	if err != nil {
		return err
	}
	defer clear(key)
	return e.openStream(ctx, c, in, r, p, &o, key, src, begin)
}

// streamKey returns the key of a stream's segments.
func (e *Engine) streamKey(ctx context.Context, p *plan, o *opened, r *audit.Record) ([]byte, error) {
	found, why, err := e.openingKey(ctx, p, o)
	if err != nil {
		return nil, err
	}
	if why != "" || o.legacy {
		found.release()
		o.frame.Pretend(nil)
		if why == "" {
			why = causeFrame
		}
		return nil, decryptFailed(why)
	}
	defer found.release()
	r.KeyID, r.Algorithm, r.Format = o.keyID, string(o.row.Name), o.frame.Format
	key, err := o.frame.StreamKey(found.bytes())
	if err != nil {
		return nil, decryptFailed(causeCommitment)
	}
	return key, nil
}

func (e *Engine) openStream(
	ctx context.Context, c *Call, in *StreamRequest, r *audit.Record, p *plan, o *opened, key []byte, src *counter, begin Begin,
) error {
	info := StreamInfo{
		KeyID: o.keyID, Algorithm: string(o.row.Name), Format: o.frame.Format, Rewrap: o.rewrap(p), Length: -1, Total: -1,
	}
	body := int64(-1)
	if in.Length >= 0 {
		body = in.Length - int64(len(o.frame.Prefix()))
		total, err := stream.PlaintextLength(body)
		if err != nil {
			return decryptFailed(causeTag)
		}
		info.Length, info.Total = total, total
	}
	reader, err := openReader(in, &info, src, body, key, joinBytes(o.frame.Prefix(), in.AssociatedData))
	if err != nil {
		return streamReadFault(err)
	}
	// The first segment tells whether key and associated data are right: until then every error has its own answer.
	segment, err := reader.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return streamReadFault(err)
	}
	if err := e.recordStart(c, r); err != nil {
		return err
	}
	out, beginErr := begin(info)
	if beginErr != nil {
		return beginErr
	}
	w := &guard{
		w: out, began: true, epoch: p.epoch, engine: e, ctx: ctx, call: c, plan: p,
		spend:   func(n int) error { return e.spendBudget(c.Subject, p, 0, n) },
		recheck: func() error { return e.streamStillAllowed(c, policy.DecryptStream, p, o.keyID, o.row, r) },
	}
	for err == nil {
		r.Out += len(segment)
		if reader.Done() {
			break
		}
		if _, err := w.Write(segment); err != nil {
			return streamFault(err)
		}
		segment, err = reader.Next()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return streamReadFault(err)
	}
	// The end is authentic. Its record comes before its bytes.
	if err := w.last(); err != nil {
		return err
	}
	e.processed(o.version)
	if in.Length >= 0 {
		r.In = int(in.Length)
	} else if err := e.endStream(c, policy.DecryptStream, p.context.Name, o.row, in.Length, int64(src.n), r); err != nil {
		return err
	}
	if len(segment) > 0 {
		if err := w.spend(len(segment)); err != nil {
			return err
		}
	}
	if err := e.finish(c, r, nil); err != nil {
		return err
	}
	if len(segment) > 0 {
		_, err = w.w.Write(segment)
		return streamFault(err)
	}
	return nil
}

func openReader(in *StreamRequest, info *StreamInfo, src io.Reader, length int64, key, associated []byte) (*stream.Reader, error) {
	if in.Range == nil {
		return stream.NewReader(src, key, associated)
	}
	if info.Total >= 0 {
		info.Length = max(min(in.Range.To, info.Total)-in.Range.From, 0)
	}
	return stream.NewRangeReader(src, length, key, associated, in.Range.From, in.Range.To)
}

func streamReadFault(err error) error {
	if errors.Is(err, stream.ErrDamaged) {
		return decryptFailed(causeTag)
	}
	return streamFault(err)
}

// decryptWhole opens a frame that is no stream. It has to be in memory.
func (e *Engine) decryptWhole(ctx context.Context, c *Call, in *StreamRequest, r *audit.Record, src io.Reader, begin Begin) error {
	frame, err := readWhole(src)
	if err != nil {
		return err
	}
	got, err := e.decrypt(ctx, c, policy.DecryptStream, &DecryptRequest{
		Context: in.Context, Ciphertext: frame, AssociatedData: in.AssociatedData,
	}, r)
	if err != nil {
		return err
	}
	defer clear(got.Plaintext)
	total := int64(len(got.Plaintext))
	part := got.Plaintext
	if in.Range != nil {
		if in.Range.From >= total && total > 0 || in.Range.From > total {
			return stream.ErrRange
		}
		part = part[in.Range.From:min(in.Range.To, total)]
	}
	r.In, r.Out = len(frame), len(part)
	if err := e.finish(c, r, nil); err != nil {
		return err
	}
	out, err := begin(StreamInfo{
		KeyID: got.KeyID, Algorithm: r.Algorithm, Format: r.Format, Rewrap: got.Rewrap, Length: int64(len(part)), Total: total,
	})
	if err != nil {
		return err
	}
	_, err = out.Write(part)
	return streamFault(err)
}

// readWhole reads a frame into memory. Whoever brings src bounds how much all requests take together.
func readWhole(src io.Reader) ([]byte, error) {
	frame, err := io.ReadAll(io.LimitReader(src, maxWholeFrame+1))
	switch {
	case err != nil:
		return nil, streamFault(err)
	case len(frame) > maxWholeFrame:
		return nil, fault.New(fault.TooLarge, "engine.stream", "a frame that is no stream has 17 MiB at most")
	}
	return frame, nil
}

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}
