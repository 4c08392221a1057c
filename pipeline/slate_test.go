package pipeline

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSlate(t *testing.T) {
	for _, size := range [][2]int{{1280, 720}, {720, 1280}, {640, 360}, {64, 64}, {500, 480}} {
		width, height := size[0], size[1]
		picture := drawSlate(width, height)
		require.Len(t, picture, width*height*3/2)
		light, odd := 0, 0
		for y := range height {
			for x := range width {
				v := picture[y*width+x]
				if v < slateDark || v > slateLight || v != picture[y*width+width-1-x] || v != picture[(height-1-y)*width+x] {
					odd++
				}
				if v > (slateDark+slateLight)/2 {
					light++
				}
			}
		}
		require.Zero(t, odd, "two colours, and all sides alike")
		require.InDelta(t, 0.03, float64(light)/float64(min(width, height)*min(width, height)), 0.02, "%v", size)
		require.EqualValues(t, slateDark, picture[height/2*width+width/2], "between the bars")
		require.EqualValues(t, slateDark, picture[0])
	}
}
