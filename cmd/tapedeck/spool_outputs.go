package main

import (
	"fmt"
	"strings"

	"tapedeck/recorder"
)

// pushedOutput is one output of an entry that is delivered.
type pushedOutput struct {
	name     string // as it was to be called
	now      string // as it is called
	state    recorder.FileState
	location string
	size     int64
	err      string
}

// outputsOf gives the outputs of rec, which were named as in before.
func outputsOf(before, rec recorder.Recording) []pushedOutput {
	var all []pushedOutput
	for i, f := range rec.Files {
		all = append(all, pushedOutput{before.Files[i].Filename, f.Filename, f.State, f.Location, f.Size, f.Error})
	}
	for i, s := range rec.Segments {
		all = append(all, pushedOutput{before.Segments[i].PlaylistName, s.PlaylistName, s.State, s.PlaylistLocation, s.Size, s.Error})
	}
	for i, s := range rec.Images {
		all = append(all, pushedOutput{before.Images[i].FilenamePrefix, s.FilenamePrefix, s.State, "", s.Size, s.Error})
	}
	return all
}

func (o pushedOutput) text() string {
	parts := []string{o.name + ":", string(o.state)}
	if o.state == recorder.FileDelivered {
		if o.location != "" {
			parts = append(parts, o.location)
		}
		parts = append(parts, "("+humanBytes(o.size)+")")
		if o.now != o.name {
			parts = append(parts, fmt.Sprintf("as %s, for another recording has its name", o.now))
		}
	}
	if o.err != "" {
		parts = append(parts, "- "+o.err)
	}
	return strings.Join(parts, " ")
}
