package api

import (
	"context"
	"io"

	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/kdf"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// Engine is the cryptographic service as the API needs it. Each use case writes its own audit record and leaves the
// receipt in the call. It is engine.Engine.
type Engine interface {
	DataEngine
	KeyUseEngine
	ComputeEngine
	ContextEngine
	KeyEngine
	SystemEngine
	TenantEngine
	ApplicationEngine
	AccountEngine
	PolicyEngine
	LifecycleEngine
	SettingsEngine
	ClusterEngine
	BackupEngine
	// Admit tells whether a call with a subject may go on, or has had its share; errors are fault.RateLimited.
	Admit(call *engine.Call, action policy.Action) error
	// Refuse records a request that was refused before it reached a use case, and returns the error to answer with.
	Refuse(ctx context.Context, call *engine.Call, action policy.Action, resource string, refusal error) error
}

// DataEngine protects data in contexts.
type DataEngine interface {
	Encrypt(ctx context.Context, call *engine.Call, in *engine.EncryptRequest) (engine.EncryptResult, error)
	Decrypt(ctx context.Context, call *engine.Call, in *engine.DecryptRequest) (engine.DecryptResult, error)
	Rewrap(ctx context.Context, call *engine.Call, in *engine.RewrapRequest) (engine.EncryptResult, error)
	EncryptBatch(ctx context.Context, call *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error)
	DecryptBatch(ctx context.Context, call *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error)
	RewrapBatch(ctx context.Context, call *engine.Call, in *engine.BatchRequest) (engine.BatchResult, error)
	EncryptStream(ctx context.Context, call *engine.Call, in *engine.StreamRequest, src io.Reader, begin engine.Begin) error
	DecryptStream(ctx context.Context, call *engine.Call, in *engine.StreamRequest, src io.Reader, begin engine.Begin) error
	DataKey(ctx context.Context, call *engine.Call, in *engine.DataKeyRequest, plaintext bool) (engine.DataKeyResult, error)
}

// KeyUseEngine works with key objects.
type KeyUseEngine interface {
	Sign(ctx context.Context, call *engine.Call, in *engine.SignRequest) (engine.SignResult, error)
	Verify(ctx context.Context, call *engine.Call, in *engine.VerifyRequest) (engine.VerifyResult, error)
	MAC(ctx context.Context, call *engine.Call, in *engine.MACRequest) (engine.MACResult, error)
	VerifyMAC(ctx context.Context, call *engine.Call, in *engine.MACVerifyRequest) (engine.VerifyResult, error)
	Encapsulate(ctx context.Context, call *engine.Call, key string) (engine.EncapsulateResult, error)
	Decapsulate(ctx context.Context, call *engine.Call, use engine.KeyUse, ciphertext []byte) (engine.SecretResult, error)
	Agree(ctx context.Context, call *engine.Call, in *engine.AgreeRequest) (engine.SecretResult, error)
	KeyEncrypt(ctx context.Context, call *engine.Call, in *engine.KeyEncryptRequest) (engine.KeyEncryptResult, error)
	KeyDecrypt(ctx context.Context, call *engine.Call, in *engine.KeyDecryptRequest) (engine.SecretResult, error)
}

// ComputeEngine computes with what a request holds.
type ComputeEngine interface {
	Hash(ctx context.Context, call *engine.Call, algorithm string, data []byte, outputBytes int) (engine.ComputeResult, error)
	DeriveKey(ctx context.Context, call *engine.Call, algorithm string, params *kdf.Params) (engine.ComputeResult, error)
	Random(ctx context.Context, call *engine.Call, n int) ([]byte, error)
	HashPassword(ctx context.Context, call *engine.Call, algorithm string, pass []byte) (engine.PasswordResult, error)
	VerifyPassword(ctx context.Context, call *engine.Call, encoded string, pass []byte) (engine.PasswordCheck, error)
}

// ContextEngine manages contexts.
type ContextEngine interface {
	Contexts(ctx context.Context, call *engine.Call) ([]engine.ContextInfo, error)
	CreateContext(ctx context.Context, call *engine.Call, spec engine.ContextSpec) (*directory.Context, error)
	RotateContext(ctx context.Context, call *engine.Call, name string) (engine.RotateResult, error)
}

// KeyEngine manages key objects.
type KeyEngine interface {
	Keys(ctx context.Context, call *engine.Call) ([]engine.KeyInfo, error)
	Key(ctx context.Context, call *engine.Call, name string) (engine.KeyInfo, error)
	CreateKey(ctx context.Context, call *engine.Call, spec engine.KeySpec) (engine.KeyInfo, error)
	RotateKey(ctx context.Context, call *engine.Call, name string) (engine.KeyInfo, error)
	SetKeyDisabled(ctx context.Context, call *engine.Call, name string, disabled bool) (engine.KeyInfo, error)
	CreateImport(ctx context.Context, call *engine.Call, protection keys.Protection) (*keys.Import, error)
	ImportKey(ctx context.Context, call *engine.Call, spec engine.KeySpec, in engine.ImportRequest) (engine.KeyInfo, error)
	ImportLegacy(ctx context.Context, call *engine.Call, in *engine.LegacyRequest) (engine.LegacyResult, error)
}

// SystemEngine tells what the node can do.
type SystemEngine interface {
	Algorithms(ctx context.Context, call *engine.Call) ([]engine.AlgorithmInfo, error)
	FIPS(ctx context.Context, call *engine.Call) (engine.FIPSStatus, error)
}
