package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

func TestExplain(t *testing.T) {
	backups := schema.GroupResource{Group: "backup.communityhealthtoolkit.org", Resource: "backups"}
	gv := schema.GroupVersion{Group: "backup.communityhealthtoolkit.org", Version: "v1alpha1"}
	refused := &url.Error{Op: "Get", URL: "https://x", Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}
	for _, tc := range []struct {
		name string
		err  error
		code Code
		next string
	}{
		{"none", nil, Good, ""},
		{"ours", Errorf(Failed, "it failed"), Failed, "it failed"},
		{"ours, wrapped", fmt.Errorf("outer: %w", Errorf(TimedOut, "late")), TimedOut, "late"},
		{"interrupted", context.Canceled, Interrupted, "interrupted"},
		{"no such kind", &meta.NoKindMatchError{GroupKind: gv.WithKind("Backup").GroupKind()}, Refused, "install the chart"},
		{"no such group", &apiutil.ErrResourceDiscoveryFailed{gv: apierrors.NewNotFound(backups, "")}, Refused, "install the chart"},
		{"discovery down", &apiutil.ErrResourceDiscoveryFailed{gv: refused}, Unreachable, "kubectl version"},
		{"forbidden", apierrors.NewForbidden(backups, "nightly", errors.New("no")), Refused, "ask whoever administers"},
		{"invalid", apierrors.NewBadRequest("maxStall"), Usage, "correct the input"},
		{"not found", apierrors.NewNotFound(backups, "nightly"), Refused, "kubectl cht list -A"},
		{"exists", apierrors.NewAlreadyExists(backups, "nightly"), Refused, "another name"},
		{"conflict", apierrors.NewConflict(backups, "nightly", errors.New("old")), Refused, "try again"},
		{"unauthorized", apierrors.NewUnauthorized("expired"), Unreachable, "log in"},
		{"network", refused, Unreachable, "kubectl version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Explain("create backup cht/nightly", tc.err)
			if Of(got) != tc.code {
				t.Errorf("code %d, want %d (%v)", Of(got), tc.code, got)
			}
			if got != nil && !strings.Contains(got.Error(), tc.next) {
				t.Errorf("%q does not say %q", got, tc.next)
			}
		})
	}
	if Of(errors.New("unknown flag: --x")) != Usage {
		t.Error("an error of the command line is not wrong usage")
	}
}

func TestHelpNamesEveryCode(t *testing.T) {
	for _, code := range []Code{Good, Failed, Usage, TimedOut, Refused, Unreachable, Interrupted} {
		if !strings.Contains(Help, fmt.Sprintf("\n  %-4d ", code)) {
			t.Errorf("help lacks code %d", code)
		}
	}
}

func TestTransient(t *testing.T) {
	backups := schema.GroupResource{Resource: "backups"}
	for _, err := range []error{apierrors.NewServiceUnavailable("x"), apierrors.NewTooManyRequests("x", 1), apierrors.NewResourceExpired("x"),
		&url.Error{Op: "Get", URL: "u", Err: errors.New("EOF")}} {
		if !Transient(err) {
			t.Errorf("%v is not transient", err)
		}
	}
	for _, err := range []error{apierrors.NewForbidden(backups, "n", errors.New("no")), apierrors.NewNotFound(backups, "n"), errors.New("other")} {
		if Transient(err) {
			t.Errorf("%v is transient", err)
		}
	}
}
