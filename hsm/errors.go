package hsm

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/fault"
)

// class says what a CKR code tells about the token, and so what to do next.
type class uint8

const (
	classNone       class = iota // no CKR code at all
	classRequest                 // this call was wrong or not allowed; the token is well
	classSession                 // this session is lost or in a bad state: replace it and try once more
	classObject                  // a handle names nothing: ask whether the token is well
	classUnspecific              // could be anything: ask whether the token is well
	classGone                    // the token, the module or the login is gone: recover
	classPIN                     // the PIN was refused: never try it again
)

// ckr is a row of the one table of CKR codes: what the token said, what it means here, and what a caller may learn.
type ckr struct {
	name  string
	class class
	kind  fault.Kind
}

const (
	unavailable = fault.HSMUnavailable
	internal    = fault.Internal
)

// ckrs has a row for each code of PKCS#11 v2.40 but CKR_OK. Codes outside it (vendor-defined ones) count as unspecific.
var ckrs = map[pkcs11.Error]ckr{
	pkcs11.CKR_CANCEL:                           {"CKR_CANCEL", classRequest, unavailable},
	pkcs11.CKR_HOST_MEMORY:                      {"CKR_HOST_MEMORY", classUnspecific, unavailable},
	pkcs11.CKR_SLOT_ID_INVALID:                  {"CKR_SLOT_ID_INVALID", classGone, unavailable},
	pkcs11.CKR_GENERAL_ERROR:                    {"CKR_GENERAL_ERROR", classUnspecific, unavailable},
	pkcs11.CKR_FUNCTION_FAILED:                  {"CKR_FUNCTION_FAILED", classUnspecific, unavailable},
	pkcs11.CKR_ARGUMENTS_BAD:                    {"CKR_ARGUMENTS_BAD", classRequest, internal},
	pkcs11.CKR_NO_EVENT:                         {"CKR_NO_EVENT", classRequest, internal},
	pkcs11.CKR_NEED_TO_CREATE_THREADS:           {"CKR_NEED_TO_CREATE_THREADS", classRequest, internal},
	pkcs11.CKR_CANT_LOCK:                        {"CKR_CANT_LOCK", classRequest, internal},
	pkcs11.CKR_ATTRIBUTE_READ_ONLY:              {"CKR_ATTRIBUTE_READ_ONLY", classRequest, fault.Forbidden},
	pkcs11.CKR_ATTRIBUTE_SENSITIVE:              {"CKR_ATTRIBUTE_SENSITIVE", classRequest, fault.Forbidden},
	pkcs11.CKR_ATTRIBUTE_TYPE_INVALID:           {"CKR_ATTRIBUTE_TYPE_INVALID", classRequest, internal},
	pkcs11.CKR_ATTRIBUTE_VALUE_INVALID:          {"CKR_ATTRIBUTE_VALUE_INVALID", classRequest, internal},
	pkcs11.CKR_ACTION_PROHIBITED:                {"CKR_ACTION_PROHIBITED", classRequest, fault.Forbidden},
	pkcs11.CKR_DATA_INVALID:                     {"CKR_DATA_INVALID", classRequest, internal},
	pkcs11.CKR_DATA_LEN_RANGE:                   {"CKR_DATA_LEN_RANGE", classRequest, internal},
	pkcs11.CKR_DEVICE_ERROR:                     {"CKR_DEVICE_ERROR", classUnspecific, unavailable},
	pkcs11.CKR_DEVICE_MEMORY:                    {"CKR_DEVICE_MEMORY", classUnspecific, unavailable},
	pkcs11.CKR_DEVICE_REMOVED:                   {"CKR_DEVICE_REMOVED", classGone, unavailable},
	pkcs11.CKR_ENCRYPTED_DATA_INVALID:           {"CKR_ENCRYPTED_DATA_INVALID", classRequest, fault.DecryptFailed},
	pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE:         {"CKR_ENCRYPTED_DATA_LEN_RANGE", classRequest, fault.DecryptFailed},
	pkcs11.CKR_FUNCTION_CANCELED:                {"CKR_FUNCTION_CANCELED", classRequest, unavailable},
	pkcs11.CKR_FUNCTION_NOT_PARALLEL:            {"CKR_FUNCTION_NOT_PARALLEL", classRequest, internal},
	pkcs11.CKR_FUNCTION_NOT_SUPPORTED:           {"CKR_FUNCTION_NOT_SUPPORTED", classRequest, internal},
	pkcs11.CKR_KEY_HANDLE_INVALID:               {"CKR_KEY_HANDLE_INVALID", classObject, unavailable},
	pkcs11.CKR_KEY_SIZE_RANGE:                   {"CKR_KEY_SIZE_RANGE", classRequest, internal},
	pkcs11.CKR_KEY_TYPE_INCONSISTENT:            {"CKR_KEY_TYPE_INCONSISTENT", classRequest, internal},
	pkcs11.CKR_KEY_NOT_NEEDED:                   {"CKR_KEY_NOT_NEEDED", classRequest, internal},
	pkcs11.CKR_KEY_CHANGED:                      {"CKR_KEY_CHANGED", classRequest, internal},
	pkcs11.CKR_KEY_NEEDED:                       {"CKR_KEY_NEEDED", classRequest, internal},
	pkcs11.CKR_KEY_INDIGESTIBLE:                 {"CKR_KEY_INDIGESTIBLE", classRequest, internal},
	pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED:       {"CKR_KEY_FUNCTION_NOT_PERMITTED", classRequest, fault.Forbidden},
	pkcs11.CKR_KEY_NOT_WRAPPABLE:                {"CKR_KEY_NOT_WRAPPABLE", classRequest, fault.Forbidden},
	pkcs11.CKR_KEY_UNEXTRACTABLE:                {"CKR_KEY_UNEXTRACTABLE", classRequest, fault.Forbidden},
	pkcs11.CKR_MECHANISM_INVALID:                {"CKR_MECHANISM_INVALID", classRequest, internal},
	pkcs11.CKR_MECHANISM_PARAM_INVALID:          {"CKR_MECHANISM_PARAM_INVALID", classRequest, internal},
	pkcs11.CKR_OBJECT_HANDLE_INVALID:            {"CKR_OBJECT_HANDLE_INVALID", classObject, unavailable},
	pkcs11.CKR_OPERATION_ACTIVE:                 {"CKR_OPERATION_ACTIVE", classSession, unavailable},
	pkcs11.CKR_OPERATION_NOT_INITIALIZED:        {"CKR_OPERATION_NOT_INITIALIZED", classSession, unavailable},
	pkcs11.CKR_PIN_INCORRECT:                    {"CKR_PIN_INCORRECT", classPIN, unavailable},
	pkcs11.CKR_PIN_INVALID:                      {"CKR_PIN_INVALID", classPIN, unavailable},
	pkcs11.CKR_PIN_LEN_RANGE:                    {"CKR_PIN_LEN_RANGE", classPIN, unavailable},
	pkcs11.CKR_PIN_EXPIRED:                      {"CKR_PIN_EXPIRED", classPIN, unavailable},
	pkcs11.CKR_PIN_LOCKED:                       {"CKR_PIN_LOCKED", classPIN, unavailable},
	pkcs11.CKR_SESSION_CLOSED:                   {"CKR_SESSION_CLOSED", classSession, unavailable},
	pkcs11.CKR_SESSION_COUNT:                    {"CKR_SESSION_COUNT", classUnspecific, unavailable},
	pkcs11.CKR_SESSION_HANDLE_INVALID:           {"CKR_SESSION_HANDLE_INVALID", classSession, unavailable},
	pkcs11.CKR_SESSION_PARALLEL_NOT_SUPPORTED:   {"CKR_SESSION_PARALLEL_NOT_SUPPORTED", classRequest, internal},
	pkcs11.CKR_SESSION_READ_ONLY:                {"CKR_SESSION_READ_ONLY", classRequest, internal},
	pkcs11.CKR_SESSION_EXISTS:                   {"CKR_SESSION_EXISTS", classRequest, internal},
	pkcs11.CKR_SESSION_READ_ONLY_EXISTS:         {"CKR_SESSION_READ_ONLY_EXISTS", classRequest, internal},
	pkcs11.CKR_SESSION_READ_WRITE_SO_EXISTS:     {"CKR_SESSION_READ_WRITE_SO_EXISTS", classRequest, internal},
	pkcs11.CKR_SIGNATURE_INVALID:                {"CKR_SIGNATURE_INVALID", classRequest, fault.DecryptFailed},
	pkcs11.CKR_SIGNATURE_LEN_RANGE:              {"CKR_SIGNATURE_LEN_RANGE", classRequest, fault.DecryptFailed},
	pkcs11.CKR_TEMPLATE_INCOMPLETE:              {"CKR_TEMPLATE_INCOMPLETE", classRequest, internal},
	pkcs11.CKR_TEMPLATE_INCONSISTENT:            {"CKR_TEMPLATE_INCONSISTENT", classRequest, fault.Forbidden},
	pkcs11.CKR_TOKEN_NOT_PRESENT:                {"CKR_TOKEN_NOT_PRESENT", classGone, unavailable},
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED:             {"CKR_TOKEN_NOT_RECOGNIZED", classGone, unavailable},
	pkcs11.CKR_TOKEN_WRITE_PROTECTED:            {"CKR_TOKEN_WRITE_PROTECTED", classRequest, internal},
	pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID:    {"CKR_UNWRAPPING_KEY_HANDLE_INVALID", classObject, unavailable},
	pkcs11.CKR_UNWRAPPING_KEY_SIZE_RANGE:        {"CKR_UNWRAPPING_KEY_SIZE_RANGE", classRequest, internal},
	pkcs11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT: {"CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", classRequest, internal},
	pkcs11.CKR_USER_ALREADY_LOGGED_IN:           {"CKR_USER_ALREADY_LOGGED_IN", classRequest, internal},
	pkcs11.CKR_USER_NOT_LOGGED_IN:               {"CKR_USER_NOT_LOGGED_IN", classGone, unavailable},
	pkcs11.CKR_USER_PIN_NOT_INITIALIZED:         {"CKR_USER_PIN_NOT_INITIALIZED", classPIN, unavailable},
	pkcs11.CKR_USER_TYPE_INVALID:                {"CKR_USER_TYPE_INVALID", classRequest, internal},
	pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN:   {"CKR_USER_ANOTHER_ALREADY_LOGGED_IN", classRequest, internal},
	pkcs11.CKR_USER_TOO_MANY_TYPES:              {"CKR_USER_TOO_MANY_TYPES", classRequest, internal},
	pkcs11.CKR_WRAPPED_KEY_INVALID:              {"CKR_WRAPPED_KEY_INVALID", classRequest, fault.DecryptFailed},
	pkcs11.CKR_WRAPPED_KEY_LEN_RANGE:            {"CKR_WRAPPED_KEY_LEN_RANGE", classRequest, fault.DecryptFailed},
	pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID:      {"CKR_WRAPPING_KEY_HANDLE_INVALID", classObject, unavailable},
	pkcs11.CKR_WRAPPING_KEY_SIZE_RANGE:          {"CKR_WRAPPING_KEY_SIZE_RANGE", classRequest, internal},
	pkcs11.CKR_WRAPPING_KEY_TYPE_INCONSISTENT:   {"CKR_WRAPPING_KEY_TYPE_INCONSISTENT", classRequest, internal},
	pkcs11.CKR_RANDOM_SEED_NOT_SUPPORTED:        {"CKR_RANDOM_SEED_NOT_SUPPORTED", classRequest, internal},
	pkcs11.CKR_RANDOM_NO_RNG:                    {"CKR_RANDOM_NO_RNG", classRequest, internal},
	pkcs11.CKR_DOMAIN_PARAMS_INVALID:            {"CKR_DOMAIN_PARAMS_INVALID", classRequest, internal},
	pkcs11.CKR_CURVE_NOT_SUPPORTED:              {"CKR_CURVE_NOT_SUPPORTED", classRequest, internal},
	pkcs11.CKR_BUFFER_TOO_SMALL:                 {"CKR_BUFFER_TOO_SMALL", classRequest, internal},
	pkcs11.CKR_SAVED_STATE_INVALID:              {"CKR_SAVED_STATE_INVALID", classRequest, internal},
	pkcs11.CKR_INFORMATION_SENSITIVE:            {"CKR_INFORMATION_SENSITIVE", classRequest, fault.Forbidden},
	pkcs11.CKR_STATE_UNSAVEABLE:                 {"CKR_STATE_UNSAVEABLE", classRequest, internal},
	pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED:         {"CKR_CRYPTOKI_NOT_INITIALIZED", classGone, unavailable},
	pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED:     {"CKR_CRYPTOKI_ALREADY_INITIALIZED", classRequest, fault.Conflict},
	pkcs11.CKR_MUTEX_BAD:                        {"CKR_MUTEX_BAD", classUnspecific, unavailable},
	pkcs11.CKR_MUTEX_NOT_LOCKED:                 {"CKR_MUTEX_NOT_LOCKED", classUnspecific, unavailable},
	pkcs11.CKR_NEW_PIN_MODE:                     {"CKR_NEW_PIN_MODE", classPIN, unavailable},
	pkcs11.CKR_NEXT_OTP:                         {"CKR_NEXT_OTP", classPIN, unavailable},
	pkcs11.CKR_EXCEEDED_MAX_ITERATIONS:          {"CKR_EXCEEDED_MAX_ITERATIONS", classRequest, internal},
	pkcs11.CKR_FIPS_SELF_TEST_FAILED:            {"CKR_FIPS_SELF_TEST_FAILED", classGone, unavailable},
	pkcs11.CKR_LIBRARY_LOAD_FAILED:              {"CKR_LIBRARY_LOAD_FAILED", classGone, unavailable},
	pkcs11.CKR_PIN_TOO_WEAK:                     {"CKR_PIN_TOO_WEAK", classPIN, unavailable},
	pkcs11.CKR_PUBLIC_KEY_INVALID:               {"CKR_PUBLIC_KEY_INVALID", classRequest, internal},
	pkcs11.CKR_FUNCTION_REJECTED:                {"CKR_FUNCTION_REJECTED", classRequest, fault.Forbidden},
}

// lookUp finds the row of the CKR code in err's chain.
func lookUp(err error) (code pkcs11.Error, row ckr, ok bool) {
	if !errors.As(err, &code) {
		return 0, ckr{class: classNone, kind: internal}, false
	}
	row, ok = ckrs[code]
	if !ok {
		row = ckr{fmt.Sprintf("CKR code 0x%X of the vendor", uint(code)), classUnspecific, unavailable}
	}
	return code, row, true
}

func classOf(err error) class {
	_, row, _ := lookUp(err)
	return row.class
}

// details is what a caller may learn of a CKR code: its kind and nothing more.
var details = map[fault.Kind]string{
	fault.HSMUnavailable: "the token cannot be used now; try again",
	fault.Forbidden:      "the token does not allow this with this key",
	fault.DecryptFailed:  "the token does not accept this input",
	fault.Conflict:       "another part of this process uses the PKCS#11 module",
	fault.Internal:       "the token refused the call",
}

// describe turns a PKCS#11 error into a fault with the code's name in its cause. Errors that carry a fault or no CKR
// code pass as they are.
func describe(op string, err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	code, row, ok := lookUp(err)
	if !ok {
		return fault.Wrap(internal, op, "", err)
	}
	return fault.Wrap(row.kind, op, details[row.kind], &cause{row.name, code, err})
}

// cause is an error of the module under the name of its CKR code, because the library knows only some of the names.
type cause struct {
	name string
	code pkcs11.Error
	err  error
}

func (c *cause) Error() string {
	if c.err.Error() == c.code.Error() { // nothing was added on the way
		return c.name
	}
	return c.name + ": " + c.err.Error()
}
func (c *cause) Unwrap() error { return c.err }

// Sentinels for what an operator has to act on. They come inside a fault.Error.
var (
	// ErrPIN: the token refused the PIN, or is close to locking it, so that it was not tried.
	ErrPIN = errors.New("the PIN cannot be used")
	// ErrNoToken: no token has the configured label.
	ErrNoToken = errors.New("no such token")
	// ErrNotProvisioned: the token lacks the keys of an appliance.
	ErrNotProvisioned = errors.New("the token is not provisioned")
	// ErrOtherMaster: the token holds another master key than before.
	ErrOtherMaster = errors.New("the token holds other keys than before")
	// ErrClosed: the Token was closed.
	ErrClosed = errors.New("the token is closed")
)
