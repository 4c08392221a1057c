package recorder_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// TestEveryEndReasonIsListed: a reason that is declared and not listed would be none to
// the metrics.
func TestEveryEndReasonIsListed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "recording.go", nil, 0)
	require.NoError(t, err)
	var declared []recorder.EndReason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "EndReason" {
			literal, ok := spec.Values[0].(*ast.BasicLit)
			require.True(t, ok)
			text, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			declared = append(declared, recorder.EndReason(text))
		}
		return true
	})
	require.Greater(t, len(declared), 20)
	assert.ElementsMatch(t, declared, recorder.EndReasons())
}
