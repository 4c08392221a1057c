import { describe, expect, test } from 'vitest';
import { layoutOfMetadata, parseLayout } from './layout';
import { Fault, parseParams } from './params';

const whole = '?url=ws://h:7880&token=t';

function faultOf(search: string): string {
  try {
    parseParams(search);
  } catch (fault) {
    expect(fault).toBeInstanceOf(Fault);
    return (fault as Fault).message;
  }
  return '';
}

describe('layouts', () => {
  test.each([
    ['speaker', 'speaker', 'dark'],
    ['grid-light', 'grid', 'light'],
    ['single-speaker', 'single-speaker', 'dark'],
    ['single-speaker-dark', 'single-speaker', 'dark'],
    ['audio-light', 'audio', 'light'],
    ['participant', 'participant', 'dark'],
  ])('%s', (name, kind, theme) => expect(parseLayout(name)).toEqual({ kind, theme }));
  test.each(['', 'Grid', 'grid-', 'grid-blue', '-light', 'grid-light-dark'])('no layout is called "%s"', (name) =>
    expect(parseLayout(name)).toBeUndefined(),
  );
  test('metadata', () => {
    expect(layoutOfMetadata('{"layout":"grid"}')).toBe('grid');
    for (const none of [undefined, '', 'grid', '{', '{"layout":7}', '{"layout":""}', 'null', '[]']) {
      expect(layoutOfMetadata(none)).toBeUndefined();
    }
  });
});

describe('parameters', () => {
  test('what a recording brings', () => {
    const search =
      '?url=wss%3A%2F%2Fhost&template=grid&layout=grid&token=secret&empty_timeout=2.5&start_timeout=7&identity=%E5%B1%B1%E7%94%B0&screen_share=false' +
      '&audio_track_id=TR_a&video_track_id=TR_v';
    expect(parseParams(search)).toEqual({
      url: 'wss://host',
      token: 'secret',
      layout: { kind: 'grid', theme: 'dark' },
      emptyTimeout: 2500,
      startTimeout: 7000,
      only: { identity: '山田', screenShare: false, audioTrack: 'TR_a', videoTrack: 'TR_v' },
    });
  });
  test('what is assumed', () => {
    const params = parseParams(whole);
    expect(params.layout).toEqual({ kind: 'speaker', theme: 'dark' });
    expect(params.emptyTimeout).toBe(20_000);
    expect(params.startTimeout).toBeUndefined();
    expect(params.only.screenShare).toBeUndefined();
    expect(parseParams(`${whole}&template=grid-light`).layout).toEqual({ kind: 'grid', theme: 'light' });
  });
  test.each([
    ['', ['parameter url is missing', 'parameter token is missing']],
    ['?url=ftp://h&token=t', ['parameter url "ftp://h" is no ws']],
    ['?url=h&token=t', ['parameter url "h" is no ws']],
    [`${whole}&layout=mosaic`, ['layout: there is no "mosaic"', 'single-speaker']],
    [`${whole}&empty_timeout=soon`, ['empty_timeout: "soon"']],
    [`${whole}&empty_timeout=0`, ['empty_timeout: "0"']],
    [`${whole}&start_timeout=never`, ['start_timeout: "never"']],
    [`${whole}&empty_timeout=-1`, ['empty_timeout: "-1"']],
    [`${whole}&screen_share=yes`, ['screen_share: "yes"']],
    [`${whole}&layout=participant`, ['parameter identity is missing']],
  ])('%s', (search, words) => {
    for (const word of words) expect(faultOf(search)).toContain(word);
  });
  test('no fault tells the token', () => expect(faultOf('?url=&token=eyJsecret&layout=mosaic')).not.toContain('eyJ'));
});
