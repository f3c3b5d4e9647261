package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/stream"
)

// What follows gives fixed results: the tests of the API look at what reaches the engine, and at how its results look to a
// caller. Only batches and streams depend on their input.

// note begins a use case and keeps what it was asked for, until the next.
func (s *standIn) note(c *engine.Call, in any) error {
	err := s.begin(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = in
	return err
}

// with begins a use case and returns its fixed result.
func with[T any](s *standIn, c *engine.Call, in any, result T) (T, error) {
	if err := s.note(c, in); err != nil {
		var none T
		return none, err
	}
	return result, nil
}

var warned = []string{"a warning"}

func (s *standIn) Rewrap(_ context.Context, c *engine.Call, in *engine.RewrapRequest) (engine.EncryptResult, error) {
	// What the exchange lends is overwritten when it ends.
	in.Ciphertext, in.AssociatedData, in.Dst = bytes.Clone(in.Ciphertext), bytes.Clone(in.AssociatedData), nil
	return with(s, c, *in, engine.EncryptResult{
		Ciphertext: []byte("rewrapped"), Algorithm: "AES-256-GCM", KeyID: keyID, Format: 4, Warnings: warned,
	})
}

// batch gives each item back in upper case. An item "fail" fails.
func (s *standIn) batch(c *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error) {
	if err := s.note(c, nil); err != nil {
		return engine.BatchResult{}, err
	}
	out := engine.BatchResult{Warnings: warned, Items: make([]engine.BatchItemResult, len(in.Items))}
	for i, item := range in.Items {
		if string(item.Data) == "fail" {
			out.Items[i].Err = fault.New(fault.DecryptFailed, "stand-in", "the tag is wrong")
			continue
		}
		start := len(out.Dst)
		out.Dst = append(append(out.Dst, bytes.ToUpper(item.Data)...), item.AssociatedData...)
		out.Items[i] = engine.BatchItemResult{
			Data: bytes.Clone(out.Dst[start:]), Algorithm: in.Algorithm + "AES-256-GCM", KeyID: keyID, Format: 4 - i%2, Rewrap: i == 0,
		}
	}
	return out, nil
}

func (s *standIn) EncryptBatch(_ context.Context, c *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error) {
	return s.batch(c, in)
}

func (s *standIn) DecryptBatch(_ context.Context, c *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error) {
	return s.batch(c, in)
}

func (s *standIn) RewrapBatch(_ context.Context, c *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error) {
	return s.batch(c, in)
}

// segment is how much of a stream is in memory at once.
const segment = 64 << 10

// EncryptStream passes the body on, behind a first byte.
func (s *standIn) EncryptStream(ctx context.Context, c *engine.Call, in *engine.StreamRequest, src io.Reader, begin engine.Begin) error {
	if err := s.note(c, *in); err != nil {
		return err
	}
	info := engine.StreamInfo{KeyID: keyID, Algorithm: "AES-256-GCM", Format: 4, Warnings: []string{"one", "two"}, Length: -1, Total: in.Length}
	if in.Length >= 0 {
		info.Length = in.Length + 1
	}
	out, err := begin(info)
	if err != nil {
		return err
	}
	if _, err := out.Write([]byte{'!'}); err != nil {
		return err
	}
	return s.pass(ctx, c, out, src)
}

// pass copies a stream and fails in the end with streamFailure, if there is one.
func (s *standIn) pass(ctx context.Context, c *engine.Call, out io.Writer, src io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{src}, make([]byte, segment))
	time.Sleep(s.linger)
	if err == nil && s.linger > 0 {
		_, err = out.Write([]byte{'.'})
		time.Sleep(s.linger)
		err = errors.Join(err, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	c.Receipt.Sequence = s.sequence
	if err != nil {
		s.broken = append(s.broken, err)
		return fault.Wrap(fault.Malformed, "stand-in", "the stream broke off", err)
	}
	if s.streamPanics {
		panic("test")
	}
	return s.streamFailure
}

// DecryptStream takes the first byte off again, whose absence it tells before it begins.
func (s *standIn) DecryptStream(ctx context.Context, c *engine.Call, in *engine.StreamRequest, src io.Reader, begin engine.Begin) error {
	if err := s.note(c, *in); err != nil {
		return err
	}
	var first [1]byte
	if _, err := io.ReadFull(src, first[:]); err != nil {
		return fault.Wrap(fault.Malformed, "stand-in", "the stream broke off", err)
	}
	switch first[0] {
	case '!':
	case 'w': // a frame that is no stream
		if _, err := io.ReadAll(src); err != nil {
			if fault.Of(err) != fault.Internal {
				return err
			}
			return fault.Wrap(fault.Malformed, "stand-in", "the stream broke off", err)
		}
		return fault.New(fault.DecryptFailed, "stand-in", "decryption failed")
	default:
		return fault.New(fault.DecryptFailed, "stand-in", "decryption failed")
	}
	info := engine.StreamInfo{KeyID: keyID, Algorithm: "AES-256-GCM", Format: 4, Rewrap: true, Length: -1, Total: -1}
	if in.Length >= 0 {
		info.Total = in.Length - 1
		info.Length = info.Total
	}
	if r := in.Range; r != nil {
		info.Length = min(r.To, info.Total) - r.From
		if _, err := io.CopyN(io.Discard, src, min(r.From, info.Total)); err != nil {
			return fault.Wrap(fault.Malformed, "stand-in", "the stream broke off", err)
		}
		if r.From > info.Total {
			return stream.ErrRange
		}
		src = io.LimitReader(src, info.Length)
	}
	out, err := begin(info)
	if err != nil {
		return err
	}
	if s.cutShort {
		src = io.LimitReader(src, segment)
	}
	return s.pass(ctx, c, out, src)
}

func (s *standIn) DataKey(_ context.Context, c *engine.Call, in *engine.DataKeyRequest, plaintext bool) (engine.DataKeyResult, error) {
	result := engine.DataKeyResult{Wrapped: engine.EncryptResult{
		Ciphertext: []byte("wrapped"), Algorithm: "AES-256-GCM", KeyID: keyID, Format: 4, Warnings: warned,
	}}
	if plaintext {
		result.Plaintext = []byte("secret")
	}
	in.AssociatedData = bytes.Clone(in.AssociatedData)
	return with(s, c, *in, result)
}

func (s *standIn) Sign(_ context.Context, c *engine.Call, in *engine.SignRequest) (engine.SignResult, error) {
	result := engine.SignResult{Signature: []byte("signature"), KeyID: keyID, Version: 2, Algorithm: "Ed25519", Warnings: warned}
	if in.Format == "jws" {
		result.Signature, result.JWS = nil, "a..b"
	}
	own := *in
	own.Message, own.Context = bytes.Clone(in.Message), bytes.Clone(in.Context)
	return with(s, c, own, result)
}

func (s *standIn) Verify(_ context.Context, c *engine.Call, in *engine.VerifyRequest) (engine.VerifyResult, error) {
	own := *in
	own.Message, own.Context, own.Signature = bytes.Clone(in.Message), bytes.Clone(in.Context), bytes.Clone(in.Signature)
	return with(s, c, own, engine.VerifyResult{Valid: true, KeyID: keyID, Algorithm: "Ed25519", Warnings: warned})
}

func (s *standIn) MAC(_ context.Context, c *engine.Call, in *engine.MACRequest) (engine.MACResult, error) {
	own := *in
	own.Message, own.Customization = bytes.Clone(in.Message), bytes.Clone(in.Customization)
	return with(s, c, own, engine.MACResult{MAC: []byte("mac"), KeyID: keyID, Version: 2, Algorithm: "KMAC128", Warnings: warned})
}

func (s *standIn) VerifyMAC(_ context.Context, c *engine.Call, in *engine.MACVerifyRequest) (engine.VerifyResult, error) {
	own := *in
	own.Message, own.Customization, own.MAC = bytes.Clone(in.Message), bytes.Clone(in.Customization), bytes.Clone(in.MAC)
	return with(s, c, own, engine.VerifyResult{Algorithm: "KMAC128"})
}

func (s *standIn) Encapsulate(_ context.Context, c *engine.Call, key string) (engine.EncapsulateResult, error) {
	return with(s, c, key, engine.EncapsulateResult{
		Ciphertext: []byte("ciphertext"), SharedSecret: []byte("secret"), KeyID: keyID, Algorithm: "ML-KEM-768", Warnings: warned,
	})
}

func secretResult(algorithm string) engine.SecretResult {
	return engine.SecretResult{Secret: []byte("secret"), KeyID: keyID, Algorithm: algorithm, Warnings: warned}
}

func (s *standIn) Decapsulate(_ context.Context, c *engine.Call, use engine.KeyUse, ciphertext []byte) (engine.SecretResult, error) {
	return with(s, c, []any{use, string(ciphertext)}, secretResult("ML-KEM-768"))
}

func (s *standIn) Agree(_ context.Context, c *engine.Call, in *engine.AgreeRequest) (engine.SecretResult, error) {
	own := *in
	own.Peer, own.Salt, own.Info = bytes.Clone(in.Peer), bytes.Clone(in.Salt), bytes.Clone(in.Info)
	return with(s, c, own, secretResult("X25519"))
}

func (s *standIn) KeyEncrypt(_ context.Context, c *engine.Call, in *engine.KeyEncryptRequest) (engine.KeyEncryptResult, error) {
	own := *in
	own.Plaintext, own.Info, own.AssociatedData = bytes.Clone(in.Plaintext), bytes.Clone(in.Info), bytes.Clone(in.AssociatedData)
	return with(s, c, own, engine.KeyEncryptResult{
		Ciphertext: []byte("ciphertext"), KeyID: keyID, Algorithm: "RSA-OAEP-2048", Warnings: warned,
	})
}

func (s *standIn) KeyDecrypt(_ context.Context, c *engine.Call, in *engine.KeyDecryptRequest) (engine.SecretResult, error) {
	own := *in
	own.Ciphertext, own.Info, own.AssociatedData = bytes.Clone(in.Ciphertext), bytes.Clone(in.Info), bytes.Clone(in.AssociatedData)
	return with(s, c, own, secretResult("RSA-OAEP-2048"))
}

func (s *standIn) Hash(_ context.Context, c *engine.Call, algorithm string, data []byte, outputBytes int) (engine.ComputeResult, error) {
	return with(s, c, []any{algorithm, string(data), outputBytes}, engine.ComputeResult{
		Value: []byte{0xab, 0xcd}, Algorithm: "SHA-256", Warnings: warned,
	})
}

func (s *standIn) DeriveKey(_ context.Context, c *engine.Call, algorithm string, p *kdf.Params) (engine.ComputeResult, error) {
	own := *p
	for _, b := range []*[]byte{&own.Secret, &own.Salt, &own.Info, &own.Label, &own.Context} {
		*b = bytes.Clone(*b)
	}
	return with(s, c, []any{algorithm, own}, engine.ComputeResult{Value: []byte("secret"), Algorithm: "Argon2id", Warnings: warned})
}

func (s *standIn) Random(_ context.Context, c *engine.Call, n int) ([]byte, error) {
	return with(s, c, n, []byte("random"))
}

func (s *standIn) HashPassword(_ context.Context, c *engine.Call, algorithm string, pass []byte) (engine.PasswordResult, error) {
	return with(s, c, []any{algorithm, string(pass)}, engine.PasswordResult{Hash: "$argon2id$", Algorithm: "Argon2id", Warnings: warned})
}

func (s *standIn) VerifyPassword(_ context.Context, c *engine.Call, encoded string, pass []byte) (engine.PasswordCheck, error) {
	return with(s, c, []any{encoded, string(pass)}, engine.PasswordCheck{Valid: true, NeedsRehash: true, Algorithm: "scrypt", Warnings: warned})
}

func (s *standIn) Algorithms(_ context.Context, c *engine.Call) ([]engine.AlgorithmInfo, error) {
	gcm, _ := algs.Lookup(algs.AES256GCM)
	hash, _ := algs.Lookup(algs.BLAKE2b256)
	return with(s, c, nil, []engine.AlgorithmInfo{{Row: gcm, Protect: true, Process: true, Validated: true, Token: true}, {Row: hash}})
}

func (s *standIn) FIPS(_ context.Context, c *engine.Call) (engine.FIPSStatus, error) {
	return with(s, c, nil, engine.FIPSStatus{
		Mode: algs.Preferred, Module: "v1.0.0", ModuleEnabled: true, Enforced: true, Validated: true, Approved: 2, Total: 3,
		Outside: []algs.Name{algs.AES256CCM},
	})
}

func (s *standIn) CreateContext(_ context.Context, c *engine.Call, spec engine.ContextSpec) (*directory.Context, error) {
	return with(s, c, spec, &directory.Context{
		Name: "new", Algorithm: "AES-256-GCM", Format: 4, Derivation: directory.Salted, Status: directory.Enabled,
		ActiveKey: "key_new_0123456789abcdef", Versions: 1, CreatedAt: newYear, Enforcement: directory.EnforceWarn,
		Allowed: []algs.Name{algs.AES128GCM}, MinimumBits: 128, QuantumSafe: true,
	})
}

// newYear is the beginning of 2026 in UTC.
const newYear = 1_767_225_600_000

const secondKeyID = "key_user-pii_fedcba9876543210"

// keyInfo is an Ed25519 key with two versions.
func (s *standIn) keyInfo() engine.KeyInfo {
	return engine.KeyInfo{
		Record: &keys.Object{
			Name: "invoices", Context: "user-pii", Purpose: keys.PurposeSign, Algorithm: algs.Ed25519, Protection: keys.Host,
			ActiveKey: secondKeyID, Versions: 2, CreatedAt: newYear, Description: "of invoices",
		},
		Versions: []*keys.Version{
			{ID: secondKeyID, Number: 2, State: keys.Active, Algorithm: algs.Ed25519, CreatedAt: newYear + 1000, Public: s.app.PublicKey},
			{ID: keyID, Number: 1, State: keys.Deactivated, Algorithm: algs.Ed25519, CreatedAt: newYear, Imported: true},
		},
	}
}

func (s *standIn) Keys(_ context.Context, c *engine.Call) ([]engine.KeyInfo, error) {
	disabled := s.keyInfo()
	disabled.Record.Disabled, disabled.Record.Protection, disabled.Versions = true, keys.Token, nil
	return with(s, c, nil, []engine.KeyInfo{s.keyInfo(), disabled})
}

func (s *standIn) Key(_ context.Context, c *engine.Call, name string) (engine.KeyInfo, error) {
	return with(s, c, name, s.keyInfo())
}

func (s *standIn) CreateKey(_ context.Context, c *engine.Call, spec engine.KeySpec) (engine.KeyInfo, error) {
	return with(s, c, spec, s.keyInfo())
}

func (s *standIn) RotateKey(_ context.Context, c *engine.Call, name string) (engine.KeyInfo, error) {
	return with(s, c, name, s.keyInfo())
}

func (s *standIn) SetKeyDisabled(_ context.Context, c *engine.Call, name string, disabled bool) (engine.KeyInfo, error) {
	return with(s, c, []any{name, disabled}, s.keyInfo())
}

func (s *standIn) CreateImport(_ context.Context, c *engine.Call, protection keys.Protection) (*keys.Import, error) {
	return with(s, c, protection, &keys.Import{
		ID: "import_0123456789abcdef", Protection: protection, Public: []byte("public"), Hash: algs.SHA256, ExpiresAt: newYear,
	})
}

func (s *standIn) ImportKey(_ context.Context, c *engine.Call, spec engine.KeySpec, in engine.ImportRequest) (engine.KeyInfo, error) {
	in.Wrapped = bytes.Clone(in.Wrapped)
	return with(s, c, []any{spec, in}, s.keyInfo())
}

func (s *standIn) ImportLegacy(_ context.Context, c *engine.Call, in *engine.LegacyRequest) (engine.LegacyResult, error) {
	own := *in
	own.Wrapped = bytes.Clone(in.Wrapped)
	for i := range own.Pairs {
		p := &own.Pairs[i]
		p.Nonce, p.Encrypted = bytes.Clone(p.Nonce), bytes.Clone(p.Encrypted)
	}
	return with(s, c, own, engine.LegacyResult{Master: 1, Keys: 2})
}
