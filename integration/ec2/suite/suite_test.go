package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/smithy-go"
)

// cases are what our code relies on. One that fails says what is otherwise.
var cases = slices.Concat(snapshotCases, volumeCases, afterCases, oursCases)

type behaviour struct {
	name  string
	holds func(ctx context.Context, g *target) error
}

// motoDiffers is what moto is known to do otherwise, by the case it fails.
// Seen with 5.2.1.
var motoDiffers = map[string]string{
	"a snapshot is pending first":                            "nothing takes time in it: a snapshot is completed at once",
	"no volume of a pending snapshot":                        "as nothing is ever pending",
	"no copy of a pending snapshot":                          "as nothing is ever pending",
	"a volume keeps its encryption in the snapshot":          "its snapshots say that they are encrypted, not with which key",
	"a page has no more than was asked for":                  "it ignores MaxResults of DescribeSnapshots and gives all",
	"one call cuts an instance's volumes but those left out": "it ignores ExcludeDataVolumeId",
	"a volume is not cut twice within 15 s":                  "it throttles and limits nothing",
	"a volume's initialization rate is told":                 "it does not know VolumeInitializationRate",
	"a client token makes one volume":                        "it ignores ClientToken of CreateVolume",
	"no volume smaller than its snapshot":                    "it does not compare sizes",
	"zones are of their Region":                              "it takes any zone's name, as long as the zone exists anywhere",
	"a snapshot is shared with an account, and no longer":    "it reads OperationType and UserId only, where the SDK also sends CreateVolumePermission.Add",
	"what is encrypted with the default key is not shared":   "it does not look at the key",
	"a locked snapshot stays":                                "it has no locks",
	"fast snapshot restore is enabled in a zone":             "it has no fast snapshot restores",
	"a snapshot moves to the archive":                        "it has no tiers",
	"a backup whose answer was lost leaves nothing":          "nothing can go wrong in it when it is told to",
}

func TestFake(t *testing.T) { t.Parallel(); ask(t, startFake(t)) }

func TestMoto(t *testing.T) { t.Parallel(); ask(t, startMoto(t)) }

func ask(t *testing.T, g *target) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := c.holds(t.Context(), g)
			why, known := g.differs[c.name]
			switch {
			case known && err == nil:
				t.Fatalf("%s does this by now; take it off the table of differences (%s)", g.name, why)
			case known:
				t.Logf("known to differ (%s): %v", why, err)
			case err != nil:
				t.Fatal(err)
			}
		})
	}
	for name := range g.differs {
		if !slices.ContainsFunc(cases, func(c behaviour) bool { return c.name == name }) {
			t.Errorf("the table of differences names %q, which is no case", name)
		}
	}
}

// refused says whether a call was refused as it must be.
func refused(what string, err error, code string) error {
	var e smithy.APIError
	switch {
	case err == nil:
		return fmt.Errorf("%s is not refused, want %s", what, code)
	case !errors.As(err, &e) || e.ErrorCode() != code:
		return fmt.Errorf("%s: %w, want %s", what, err, code)
	}
	return nil
}

// must says what went wrong with what.
func must(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
