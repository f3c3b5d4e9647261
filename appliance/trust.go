package appliance

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"cryptoserve/engine/fault"
	"cryptoserve/engine/secret"
	"cryptoserve/hsm"
	"cryptoserve/softhsm"
)

// trustOrder is the line that TrustKey writes to the standard input of its child.
type trustOrder struct {
	Module      string `json:"module"`
	TokenLabel  string `json:"token_label"`
	SoftHSMConf string `json:"softhsm_conf,omitempty"` // value of SOFTHSM2_CONF; empty leaves it as it is
	SOPIN       []byte `json:"so_pin"`
	Label       string `json:"label"`       // of the object
	Fingerprint []byte `json:"fingerprint"` // SHA-256 of its SubjectPublicKeyInfo
}

const (
	// maxTrustOrder bounds that line.
	maxTrustOrder = 64 << 10
	// trustTimeout bounds the session of the security officer.
	trustTimeout = 30 * time.Second
	// exitDenied is how cryptoserved ends when the token refused a PIN.
	exitDenied = 3
)

// officer remembers which PINs of security officers were refused: each child is a new process and does not know.
var officer = struct {
	sync.Mutex
	salt    [sha256.Size]byte
	refused map[[sha256.Size]byte]bool
}{refused: map[[sha256.Size]byte]bool{}}

func officerDigest(o *trustOrder) [sha256.Size]byte {
	officer.Lock()
	defer officer.Unlock()
	if officer.salt == ([sha256.Size]byte{}) {
		_, _ = rand.Read(officer.salt[:]) // never fails
	}
	h := sha256.New()
	h.Write(officer.salt[:])
	h.Write(fmt.Appendf(nil, "%q %q ", o.Module, o.TokenLabel))
	h.Write(o.SOPIN)
	return [sha256.Size]byte(h.Sum(nil))
}

// TrustKey has the security officer of the token mark a join key as trusted (hsm.Trust), in a child process: program is that of
// cryptoserved, /proc/self/exe for the daemon itself. What the child needs goes to it through its standard input: PINs are in no
// arguments and no environment. A PIN that the token refused is never tried again by this process; ErrPIN is in that error's chain.
func TrustKey(ctx context.Context, program string, c HSMConfig, label string, fingerprint [sha256.Size]byte) error {
	const op = "appliance.TrustKey"
	if c.SOPINFile == "" {
		return fault.New(fault.Unavailable, op, "hsm.so_pin_file is not configured, and only the security officer of the token lets another "+
			"node's token have the keys: write his PIN into a file with mode 0600 and name it there, or join with the keys shared or preloaded")
	}
	pin, err := readSecret(c.SOPINFile, "security officer's PIN")
	if err != nil {
		return fault.Wrap(fault.Unavailable, op, "hsm.so_pin_file cannot be used", err)
	}
	defer pin.Destroy()
	order := trustOrder{Module: c.Module, TokenLabel: c.TokenLabel, SOPIN: pin.Reveal(), Label: label, Fingerprint: fingerprint[:]}
	if order.Module == "" {
		if order.Module, err = softhsm.Library(); err != nil {
			return fault.Wrap(fault.HSMUnavailable, op, "the PKCS#11 module cannot be found", err)
		}
	}
	if c.SoftHSMDir != "" {
		order.SoftHSMConf = os.Getenv(softhsm.ConfEnv) // as the open token has it
	}
	digest := officerDigest(&order)
	officer.Lock()
	refused := officer.refused[digest]
	officer.Unlock()
	if refused {
		return fault.Wrap(fault.HSMUnavailable, op, "the token has refused this PIN of the security officer before, so it was not tried again; "+
			"correct hsm.so_pin_file", ErrPIN)
	}
	err = runTrustKey(ctx, program, &order)
	if errors.Is(err, ErrPIN) {
		officer.Lock()
		officer.refused[digest] = true
		officer.Unlock()
	}
	return err
}

func runTrustKey(ctx context.Context, program string, order *trustOrder) error {
	const op = "appliance.TrustKey"
	line, err := json.Marshal(order)
	if err != nil {
		return err
	}
	defer clear(line)
	ctx, cancel := context.WithTimeout(ctx, trustTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, program, "hsm", "trust-key") // #nosec G204 -- this program itself
	c.WaitDelay = time.Second
	c.Stdin = bytes.NewReader(line)
	said := head{most: 4 << 10}
	c.Stdout, c.Stderr = &said, &said
	err = c.Run()
	if err == nil {
		return nil
	}
	cause := fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitDenied {
		return fault.Wrap(fault.HSMUnavailable, op, "the token refused the PIN of the security officer, or would not have it tried; it is "+
			"not tried again before hsm.so_pin_file changes", errors.Join(ErrPIN, cause))
	}
	return fault.Wrap(fault.HSMUnavailable, op, "the join key could not be marked as trusted", cause)
}

// head keeps the first bytes that are written to it.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), max(0, h.most-h.Len()))])
	return len(p), nil
}

// ServeTrustKey is the child of TrustKey: it reads one line from in and does what it says.
func ServeTrustKey(in io.Reader) error {
	if err := forbidCoreDumps(); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxTrustOrder+1))
	defer clear(raw)
	if err != nil || len(raw) > maxTrustOrder {
		return errors.Join(err, errors.New("standard input has no order to trust a key; this command is for the daemon itself"))
	}
	var order trustOrder
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&order); err != nil || d.More() {
		// The cause could quote what was read.
		return errors.New("standard input has no order to trust a key; this command is for the daemon itself")
	}
	pin := secret.New(order.SOPIN)
	defer pin.Destroy()
	if len(order.Fingerprint) != sha256.Size {
		return errors.New("the order to trust a key has no fingerprint")
	}
	if order.SoftHSMConf != "" {
		if err := os.Setenv(softhsm.ConfEnv, order.SoftHSMConf); err != nil {
			return err
		}
	}
	return hsm.Trust(order.Module, order.TokenLabel, pin, order.Label, [sha256.Size]byte(order.Fingerprint))
}
