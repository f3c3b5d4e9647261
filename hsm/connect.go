package hsm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
	"cryptoserve/hsm/internal/p11"
)

const sessionFlags = pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION

// connection is an initialised module with a login and its sessions. It belongs to whoever holds every session.
type connection struct {
	slot       uint
	mechanisms map[uint]bool
	sessions   []pkcs11.SessionHandle
}

// connect initialises the module, finds the token, opens n sessions and logs in. When it fails, the module is finalised
// again. The PIN is tried at most once, and not at all when the token has refused it before or says that the next wrong
// one would lock it.
func connect(m p11.Module, c *Config, n int) (_ *connection, err error) {
	const op = "hsm.connect"
	if c.pinRefused() {
		return nil, fault.Wrap(fault.HSMUnavailable, op,
			"the token has refused this PIN before, so it was not tried again; correct the PIN and restart", ErrPIN)
	}
	err = m.InitializeFor(p11.Attach{TokenLabel: c.TokenLabel, Signers: c.Sessions, Wait: c.Wait})
	if errors.Is(err, p11.ErrTokenNotFound) {
		return nil, fault.Wrap(fault.HSMUnavailable, op,
			fmt.Sprintf("no token is labelled %q; check the label and the module, or make the token first", c.TokenLabel), ErrNoToken)
	}
	if err != nil {
		return nil, describe(op, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, describe(op, finalizeQuietly(m)))
		}
	}()

	slot, info, err := findToken(m, op, c.TokenLabel)
	if err != nil {
		return nil, err
	}
	if err := checkLoginFlags(op, info.Flags); err != nil {
		return nil, err
	}
	if err := checkSessions(op, info, n+c.Sessions+1); err != nil {
		return nil, err
	}
	conn := &connection{slot: slot, mechanisms: map[uint]bool{}}
	mechanisms, err := m.GetMechanismList(slot)
	if err != nil {
		return nil, describe(op, err)
	}
	for _, mech := range mechanisms {
		conn.mechanisms[mech.Mechanism] = true
	}
	for range n {
		s, err := m.OpenSession(slot, sessionFlags)
		if err != nil {
			return nil, describe(op, err)
		}
		conn.sessions = append(conn.sessions, s)
	}
	return conn, login(m, c, op, conn.sessions[0], info)
}

// finalizeQuietly finalises a module whose token may already be gone: that it is gone is known, so saying it twice is
// noise.
func finalizeQuietly(m p11.Module) error {
	if err := m.Finalize(); classOf(err) != classGone {
		return err
	}
	return nil
}

// findToken returns the one token with the label.
func findToken(m p11.Module, op, label string) (slot uint, info pkcs11.TokenInfo, err error) {
	slots, err := m.GetSlotList(true)
	if err != nil {
		return 0, info, describe(op, err)
	}
	found := 0
	var others []string
	for _, s := range slots {
		ti, err := m.GetTokenInfo(s)
		if err != nil {
			return 0, info, describe(op, err)
		}
		if ti.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		if ti.Label != label {
			others = append(others, strconv.Quote(ti.Label))
			continue
		}
		slot, info = s, ti
		found++
	}
	switch found {
	case 1:
		return slot, info, nil
	case 0:
		detail := fmt.Sprintf("no token is labelled %q", label)
		if len(others) > 0 {
			detail += "; there is " + strings.Join(others, ", ")
		}
		return 0, info, fault.Wrap(fault.HSMUnavailable, op, detail, ErrNoToken)
	default:
		return 0, info, fault.New(fault.Conflict, op,
			fmt.Sprintf("%d tokens are labelled %q; give each token a label of its own", found, label))
	}
}

func checkLoginFlags(op string, flags uint) error {
	switch {
	case flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fault.Wrap(fault.HSMUnavailable, op,
			"the token has locked its user PIN; its security officer must set a new one with the vendor's tool", ErrPIN)
	case flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fault.Wrap(fault.HSMUnavailable, op, "one more wrong PIN locks the token, so none was tried; "+
			"log in once with the vendor's tool to prove the PIN, then restart", ErrPIN)
	case flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0:
		return fault.Wrap(fault.HSMUnavailable, op,
			"the token has no user PIN yet; its security officer must set one", ErrPIN)
	default:
		return nil
	}
}

// checkSessions refuses a token that cannot have as many sessions as will be wanted, where it says how many it can have.
// Many tokens report zero or all ones, which says nothing.
func checkSessions(op string, info pkcs11.TokenInfo, want int) error {
	for _, most := range []uint{info.MaxSessionCount, info.MaxRwSessionCount} {
		known := most != pkcs11.CK_EFFECTIVELY_INFINITE && most != pkcs11.CK_UNAVAILABLE_INFORMATION
		if known && most < uint(want) { // #nosec G115 -- want is a small count
			return fault.New(fault.Malformed, op, fmt.Sprintf(
				"the token allows %d sessions and %d are wanted; configure fewer", most, want))
		}
	}
	return nil
}

func login(m p11.Module, c *Config, op string, s pkcs11.SessionHandle, info pkcs11.TokenInfo) error {
	if info.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0 {
		c.Log.Warn("a wrong PIN was given to the token since the last login", "token", c.TokenLabel)
	}
	err := m.Login(s, pkcs11.CKU_USER, string(c.PIN.Reveal()))
	if err == nil && c.AfterLogin != nil {
		if err := c.AfterLogin(); err != nil {
			return fault.Wrap(fault.HSMUnavailable, op, "what the login changed could not be kept", err)
		}
	}
	if err == nil {
		return nil
	}
	_, row, _ := lookUp(err)
	if row.class != classPIN {
		return describe(op, err)
	}
	c.refusePIN()
	return fault.Wrap(fault.HSMUnavailable, op, "the token refused the PIN ("+row.name+
		"); it was tried once and will not be tried again before a restart: correct the PIN first", errors.Join(ErrPIN, err))
}
