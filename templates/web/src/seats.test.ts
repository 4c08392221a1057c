import { expect, test } from 'vitest';
import { Seats, type Guest } from './seats';

const guests = (ids: string, speaking = '', pictures = ids): Guest[] =>
  [...ids].map((id) => ({ id, speaking: speaking.includes(id), picture: pictures.includes(id) }));
const shown = (seats: Seats, ids: string, capacity: number, speaking = '', pictures = ids) =>
  seats.assign(guests(ids, speaking, pictures), capacity).join('');

test('all sit in the order in which they came', () => expect(shown(new Seats(), 'abcd', 9)).toBe('abcd'));
test('whoever leaves leaves no hole, and the others keep their order', () => {
  const seats = new Seats();
  shown(seats, 'abcd', 9);
  expect(shown(seats, 'acd', 9)).toBe('acd');
  expect(shown(seats, 'acde', 9)).toBe('acde');
});
test('whoever comes takes the place of whoever goes', () => {
  const seats = new Seats();
  shown(seats, 'abcd', 9);
  expect(shown(seats, 'acde', 9)).toBe('aecd');
});
test('speaking moves nobody who is shown', () => {
  const seats = new Seats();
  shown(seats, 'abcdef', 4);
  expect(shown(seats, 'abcdef', 4, 'c')).toBe('abcd');
});
test('a speaker without a seat takes that of whoever was silent for the longest', () => {
  const seats = new Seats();
  shown(seats, 'abcdef', 4, 'd');
  expect(shown(seats, 'abcdef', 4, 'f')).toBe('abfd');
  expect(shown(seats, 'abcdef', 4)).toBe('abfd');
  expect(shown(seats, 'abcdef', 4, 'e')).toBe('aefd');
});
test('nobody who speaks loses a seat', () => {
  const seats = new Seats();
  shown(seats, 'abcd', 2);
  expect(shown(seats, 'abcd', 2, 'abcd')).toBe('ab');
});
test('those with a picture are preferred when not all fit', () => {
  expect(shown(new Seats(), 'abcdef', 4, '', 'def')).toBe('defa');
  expect(shown(new Seats(), 'abcdef', 6, '', 'def')).toBe('abcdef');
});
test('when seats become fewer, those who spoke stay', () => {
  const seats = new Seats();
  shown(seats, 'abcdef', 6, 'e');
  expect(shown(seats, 'abcdef', 3)).toBe('abe');
});
