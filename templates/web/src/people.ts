import { ParticipantKind, RemoteVideoTrack, Track, type RemoteParticipant, type RemoteTrackPublication } from 'livekit-client';
import type { Only } from './params';

/** One published picture. */
export interface Media {
  sid: string;
  /** Not muted: pictures are to be expected. */
  live: boolean;
  publication: RemoteTrackPublication;
  /** Set when subscribed to. */
  track?: RemoteVideoTrack;
}

/** A participant as the page shows it: values of one moment, which stay when the participant has gone. */
export interface Person {
  id: string;
  name: string;
  /** No microphone, or a muted one. */
  muted: boolean;
  microphone?: RemoteTrackPublication;
  camera?: Media;
  screens: Media[];
}

/** Everything that is to be seen and heard. */
export interface Room {
  /** By the time of joining. */
  people: Person[];
  sounds: RemoteTrackPublication[];
}

export const nobody: Room = { people: [], sounds: [] };

/** Reports whether a participant is there to be seen: no agent, no recorder. */
export function isPerson(p: RemoteParticipant): boolean {
  return !(p.isAgent || p.kind === ParticipantKind.EGRESS || p.permissions?.recorder || p.permissions?.hidden);
}

/** Collects what is to be seen and heard of a room. An agent is heard. */
export function roomOf(participants: RemoteParticipant[], only: Only): Room {
  const chosen = participants.filter((p) => isChosen(p, only)).sort(byJoining);
  return {
    people: chosen.filter(isPerson).map((p) => personOf(p, only)),
    sounds: chosen.filter((p) => p.kind !== ParticipantKind.EGRESS).flatMap((p) => soundsOf(p, only)),
  };
}

/** Reports whether somebody or something is chosen, and not all of the room. */
export function isPart({ identity, audioTrack, videoTrack }: Only): boolean {
  return !!(identity || audioTrack || videoTrack);
}

/** Reports whether a participant has a part in what is chosen. */
export function isChosen(p: RemoteParticipant, only: Only): boolean {
  if (only.identity && p.identity !== only.identity) return false;
  if (!only.audioTrack && !only.videoTrack) return true;
  return publicationsOf(p).some((t) => t.trackSid === only.audioTrack || t.trackSid === only.videoTrack);
}

function byJoining(a: RemoteParticipant, b: RemoteParticipant): number {
  return (a.joinedAt?.getTime() ?? 0) - (b.joinedAt?.getTime() ?? 0) || (a.identity < b.identity ? -1 : 1);
}

function publicationsOf(p: RemoteParticipant): RemoteTrackPublication[] {
  return [...p.trackPublications.values()];
}

function personOf(p: RemoteParticipant, only: Only): Person {
  const media = publicationsOf(p)
    .filter((t) => t.kind === Track.Kind.Video && isWanted(t, only))
    .map(mediaOf);
  const isScreen = (m: Media) => m.publication.source === Track.Source.ScreenShare;
  const microphone = publicationsOf(p).find((t) => t.kind === Track.Kind.Audio && t.source !== Track.Source.ScreenShareAudio);
  const person: Person = {
    id: p.identity,
    name: p.name || p.identity,
    muted: microphone?.isMuted ?? true,
    camera: media.find((m) => !isScreen(m)),
    screens: media.filter((m) => isScreen(m) && m.live),
  };
  if (microphone) person.microphone = microphone;
  return person;
}

function mediaOf(publication: RemoteTrackPublication): Media {
  const media: Media = { sid: publication.trackSid, live: !publication.isMuted, publication };
  if (publication.track instanceof RemoteVideoTrack) media.track = publication.track;
  return media;
}

function soundsOf(p: RemoteParticipant, only: Only): RemoteTrackPublication[] {
  return publicationsOf(p).filter((t) => t.kind === Track.Kind.Audio && isWanted(t, only));
}

function isWanted(t: RemoteTrackPublication, only: Only): boolean {
  if (only.audioTrack || only.videoTrack) return t.trackSid === only.audioTrack || t.trackSid === only.videoTrack;
  if (only.screenShare === undefined) return true;
  const ofScreen = t.source === Track.Source.ScreenShare || t.source === Track.Source.ScreenShareAudio;
  return ofScreen === only.screenShare;
}
