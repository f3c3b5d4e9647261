package hsm

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"

	"cryptoserve/engine/fault"
)

// process is what exists once in a process whatever its Tokens do: who may initialise and finalise modules, and which
// PINs were refused.
var process = struct {
	sync.Mutex
	owner   string                // operation that owns the modules, empty when nobody does
	refused map[[32]byte]struct{} // digests of refused PINs, by pinDigest
	salt    [32]byte
}{refused: map[[32]byte]struct{}{}, salt: newSalt()}

func newSalt() (salt [32]byte) {
	_, _ = rand.Read(salt[:]) // never fails
	return salt
}

// claim makes op the owner of C_Initialize and C_Finalize until release. fault.Conflict when another operation owns
// them.
func claim(op string) (release func(), err error) {
	process.Lock()
	defer process.Unlock()
	if process.owner != "" {
		return nil, fault.New(fault.Conflict, op,
			"this process already has the PKCS#11 module in use ("+process.owner+"); close that first")
	}
	process.owner = op
	return sync.OnceFunc(func() {
		process.Lock()
		defer process.Unlock()
		process.owner = ""
	}), nil
}

// pinDigest names a PIN of a token without keeping it: SHA-256 with a salt that no other process has.
func (c *Config) pinDigest() [32]byte {
	h := sha256.New()
	h.Write(process.salt[:])
	for _, part := range []string{c.Module, c.TokenLabel} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Write(c.PIN.Reveal())
	return [32]byte(h.Sum(nil))
}

// pinRefused tells whether this token refused this PIN before in this process.
func (c *Config) pinRefused() bool {
	process.Lock()
	defer process.Unlock()
	_, refused := process.refused[c.pinDigest()]
	return refused
}

// refusePIN notes that the token refused the PIN. Nothing but the end of the process takes that back: each try brings
// the token nearer to locking itself, and a restarted loop must not get there.
func (c *Config) refusePIN() {
	process.Lock()
	defer process.Unlock()
	process.refused[c.pinDigest()] = struct{}{}
}
