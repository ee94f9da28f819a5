/**
 * Regular expressions in RE2's syntax, matched in time proportional to text times pattern: a pattern comes with the
 * model, so one that makes a backtracking matcher run for ever must not be able to.
 */

/** One step of the automaton: a set of characters to consume, a split, or an assertion. */
type Step =
  | { readonly kind: 'take'; readonly accepts: (code: number) => boolean; next: number }
  | { readonly kind: 'split'; next: number; other: number }
  | { readonly kind: 'assert'; readonly holds: (text: readonly number[], at: number) => boolean; next: number };

interface Flags {
  readonly fold: boolean;
  readonly dotAll: boolean;
  readonly multiline: boolean;
}

type Accepts = (code: number) => boolean;
type Fail = (message: string) => Error;

/** A piece of the automaton: where it begins, and the ends that still lead nowhere. */
interface Fragment {
  readonly start: number;
  readonly ends: readonly ((to: number) => void)[];
}

const nextOf =
  (step: { next: number }): ((to: number) => void) =>
  (to) => {
    step.next = to;
  };
const otherOf =
  (step: { other: number }): ((to: number) => void) =>
  (to) => {
    step.other = to;
  };

/** The most steps an automaton may have; repetition multiplies patterns. */
const MAX_STEPS = 100_000;
const MAX_DEPTH = 200;

const isWord: Accepts = (c) => (c >= 48 && c <= 57) || (c >= 65 && c <= 90) || c === 95 || (c >= 97 && c <= 122);
const isDigit: Accepts = (c) => c >= 48 && c <= 57;
const isSpace: Accepts = (c) => c === 32 || c === 9 || c === 10 || c === 12 || c === 13;
const not =
  (f: Accepts): Accepts =>
  (c) =>
    !f(c);

const classes: Readonly<Record<string, Accepts>> = {
  d: isDigit,
  D: not(isDigit),
  s: isSpace,
  S: not(isSpace),
  w: isWord,
  W: not(isWord),
};

const controls: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };

const posix: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t ',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-/:-@\\[-`{-~',
  space: '\\t-\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};

const simpleFold = (code: number): readonly number[] => {
  const char = String.fromCodePoint(code);
  const variants = [char.toLowerCase(), char.toUpperCase()].filter((s) => [...s].length === 1);
  return [code, ...variants.map((s) => s.codePointAt(0) as number)];
};

const folded =
  (f: Accepts): Accepts =>
  (code) =>
    simpleFold(code).some(f);

/** Reads a pattern and builds the automaton as it goes. */
class Compiler {
  readonly steps: Step[] = [];
  readonly #chars: readonly string[];
  readonly #fail: Fail;
  #at = 0;
  #flags: Flags = { fold: false, dotAll: false, multiline: false };
  #depth = 0;

  constructor(pattern: string, fail: Fail) {
    this.#chars = [...pattern];
    this.#fail = (message) => fail(`the pattern "${pattern}" ${message} (character ${this.#at})`);
  }

  compile(): Fragment {
    const whole = this.#alternation();
    if (this.#at < this.#chars.length) throw this.#fail('has an unmatched )');
    return whole;
  }

  #peek(text: string): boolean {
    return this.#chars.slice(this.#at, this.#at + text.length).join('') === text;
  }

  #skip(text: string): boolean {
    const found = this.#peek(text);
    if (found) this.#at += text.length;
    return found;
  }

  #next(): string {
    const char = this.#chars[this.#at++];
    if (char === undefined) throw this.#fail('ends too early');
    return char;
  }

  #add(step: Step): number {
    if (this.steps.length >= MAX_STEPS) throw this.#fail('is too large');
    return this.steps.push(step) - 1;
  }

  #take(accepts: Accepts): Fragment {
    const step: Step = { kind: 'take', accepts: this.#flags.fold ? folded(accepts) : accepts, next: -1 };
    return { start: this.#add(step), ends: [nextOf(step)] };
  }

  #assert(holds: (text: readonly number[], at: number) => boolean): Fragment {
    const step: Step = { kind: 'assert', holds, next: -1 };
    return { start: this.#add(step), ends: [nextOf(step)] };
  }

  #empty(): Fragment {
    return this.#assert(() => true);
  }

  #join(a: Fragment, b: Fragment): Fragment {
    for (const end of a.ends) end(b.start);
    return { start: a.start, ends: b.ends };
  }

  #either(a: Fragment, b: Fragment): Fragment {
    const start = this.#add({ kind: 'split', next: a.start, other: b.start });
    return { start, ends: [...a.ends, ...b.ends] };
  }

  #optional(a: Fragment): Fragment {
    const step = { kind: 'split' as const, next: a.start, other: -1 };
    return { start: this.#add(step), ends: [...a.ends, otherOf(step)] };
  }

  #star(a: Fragment): Fragment {
    const step = { kind: 'split' as const, next: a.start, other: -1 };
    const start = this.#add(step);
    for (const end of a.ends) end(start);
    return { start, ends: [otherOf(step)] };
  }

  #alternation(): Fragment {
    if (++this.#depth > MAX_DEPTH) throw this.#fail('is nested too deeply');
    let whole = this.#sequence();
    while (this.#skip('|')) whole = this.#either(whole, this.#sequence());
    this.#depth--;
    return whole;
  }

  #sequence(): Fragment {
    let whole = this.#empty();
    while (this.#at < this.#chars.length && !this.#peek('|') && !this.#peek(')')) {
      const from = this.#at;
      const flags = this.#flags;
      const atom = this.#atom();
      const repeat = this.#repetition();
      whole = this.#join(whole, repeat ? this.#repeated(atom, repeat, from, flags) : atom);
    }
    return whole;
  }

  /** Least and most repetitions, where a quantifier follows. */
  #repetition(): readonly [number, number] | undefined {
    const counts = this.#quantifier();
    // Lazy or not, the same texts match as a whole.
    if (counts) this.#skip('?');
    return counts;
  }

  #quantifier(): readonly [number, number] | undefined {
    if (this.#skip('*')) return [0, Number.POSITIVE_INFINITY];
    if (this.#skip('+')) return [1, Number.POSITIVE_INFINITY];
    if (this.#skip('?')) return [0, 1];
    const braces = /^\{(\d+)(,(\d*))?\}/.exec(this.#chars.slice(this.#at, this.#at + 20).join(''));
    if (!braces) return undefined;
    this.#at += braces[0].length;
    const least = Number(braces[1]);
    const most = braces[2] === undefined ? least : braces[3] ? Number(braces[3]) : Number.POSITIVE_INFINITY;
    if (least > 1000 || most < least || (Number.isFinite(most) && most > 1000)) {
      throw this.#fail('repeats more than 1000 times');
    }
    return [least, most];
  }

  /** Repeats what was read between `from` and the quantifier by reading it again for each copy. */
  #repeated(first: Fragment, [least, most]: readonly [number, number], from: number, flags: Flags): Fragment {
    const after = this.#at;
    const again = (): Fragment => {
      const held = this.#flags;
      this.#flags = flags;
      this.#at = from;
      const copy = this.#atom();
      this.#at = after;
      this.#flags = held;
      return copy;
    };
    if (!Number.isFinite(most)) {
      let whole = this.#star(first);
      for (let i = 0; i < least; i++) whole = this.#join(again(), whole);
      return whole;
    }
    if (most === 0) return this.#empty();
    let tail: Fragment | undefined;
    for (let i = least; i < most; i++) {
      const copy = tail || least ? again() : first;
      tail = this.#optional(tail ? this.#join(copy, tail) : copy);
    }
    let whole = tail;
    for (let i = 0; i < least; i++) {
      const copy = i === 0 ? first : again();
      whole = whole ? this.#join(copy, whole) : copy;
    }
    return whole as Fragment;
  }

  #atom(): Fragment {
    const char = this.#next();
    if (char === '(') return this.#group();
    if (char === '[') return this.#take(this.#set());
    if (char === '.') {
      const all = this.#flags.dotAll;
      return this.#take((code) => all || code !== 10);
    }
    if (char === '^') return this.#assert(this.#flags.multiline ? startsLine : startsText);
    if (char === '$') return this.#assert(this.#flags.multiline ? endsLine : endsText);
    if (char === '\\') return this.#escaped();
    if (char === '*' || char === '+' || char === '?') throw this.#fail(`has nothing to repeat before ${char}`);
    const code = char.codePointAt(0);
    return this.#take((c) => c === code);
  }

  #group(): Fragment {
    const outer = this.#flags;
    if (this.#skip('?')) {
      if (this.#skip('P<') || this.#skip('<')) {
        if (this.#peek('=') || this.#peek('!')) throw this.#fail('looks behind, which RE2 does not');
        while (this.#next() !== '>');
      } else if (!this.#readFlags()) {
        return this.#empty();
      }
    }
    const inner = this.#alternation();
    if (!this.#skip(')')) throw this.#fail('lacks a )');
    this.#flags = outer;
    return inner;
  }

  /** Reads `i-s:`, flags for a group, or `i-s)`, flags from there on; true for the former. */
  #readFlags(): boolean {
    const flags = { ...this.#flags };
    for (let on = true; ; ) {
      const char = this.#next();
      if (char === ':' || char === ')') {
        this.#flags = flags;
        return char === ':';
      }
      if (char === '-') on = false;
      else if (char === 'i') flags.fold = on;
      else if (char === 's') flags.dotAll = on;
      else if (char === 'm') flags.multiline = on;
      else if (char !== 'U') throw this.#fail(`has the unknown flag ${char}`);
    }
  }

  /** What follows a backslash outside of a set. */
  #escaped(): Fragment {
    if (this.#skip('A')) return this.#assert(startsText);
    if (this.#skip('z')) return this.#assert(endsText);
    if (this.#skip('b')) return this.#assert(atWordEdge);
    if (this.#skip('B')) return this.#assert((text, at) => !atWordEdge(text, at));
    if (this.#skip('Q')) {
      let whole = this.#empty();
      while (this.#at < this.#chars.length && !this.#skip('\\E')) {
        const code = this.#next().codePointAt(0);
        whole = this.#join(
          whole,
          this.#take((c) => c === code),
        );
      }
      return whole;
    }
    const named = this.#namedClass();
    if (named) return this.#take(named);
    const code = this.#escapedCode();
    return this.#take((c) => c === code);
  }

  /** `\d`, `\pL`, `\P{Greek}` and their kin, after the backslash; undefined for other escapes. */
  #namedClass(): Accepts | undefined {
    const char = this.#next();
    if (classes[char]) return classes[char];
    if (char !== 'p' && char !== 'P') {
      this.#at--;
      return undefined;
    }
    let name = this.#next();
    if (name === '{') {
      name = '';
      for (let c = this.#next(); c !== '}'; c = this.#next()) name += c;
    }
    const negated = (char === 'P') !== name.startsWith('^');
    const property = propertyTest(name.replace('^', ''));
    if (!property) throw this.#fail(`names the unknown class ${name}`);
    return negated ? not(property) : property;
  }

  /** The character that an escape stands for, after the backslash. */
  #escapedCode(): number {
    const char = this.#next();
    if (controls[char] !== undefined) return controls[char];
    if (char === 'x') {
      let digits = '';
      if (this.#skip('{')) for (let c = this.#next(); c !== '}'; c = this.#next()) digits += c;
      else digits = this.#next() + this.#next();
      if (!/^[0-9a-fA-F]{1,6}$/.test(digits)) throw this.#fail('has a malformed \\x');
      return Number.parseInt(digits, 16);
    }
    if (/[0-7]/.test(char)) {
      let digits = char;
      while (digits.length < 3 && /[0-7]/.test(this.#chars[this.#at] ?? '')) digits += this.#next();
      if (char !== '0' && digits.length < 2) throw this.#fail('refers back, which RE2 does not');
      return Number.parseInt(digits, 8);
    }
    if (/[A-Za-z]/.test(char)) throw this.#fail(`has the unknown escape \\${char}`);
    return char.codePointAt(0) as number;
  }

  /** A set, after its opening bracket. */
  #set(): Accepts {
    const negated = this.#skip('^');
    const members: Accepts[] = [];
    for (let first = true; first || !this.#peek(']'); first = false) {
      if (this.#skip('[:')) {
        members.push(this.#posixClass());
        continue;
      }
      const low = this.#setItem();
      if (typeof low !== 'number') {
        members.push(low);
        continue;
      }
      let high = low;
      if (this.#peek('-') && this.#chars[this.#at + 1] !== ']') {
        this.#at++;
        const end = this.#setItem();
        if (typeof end !== 'number' || end < low) throw this.#fail('has a malformed range');
        high = end;
      }
      members.push((c) => c >= low && c <= high);
    }
    this.#at++;
    const fold = this.#flags.fold;
    const any: Accepts = (c) => members.some((member) => member(c));
    // A negated set folds its members, not itself.
    return negated ? not(fold ? folded(any) : any) : any;
  }

  #setItem(): number | Accepts {
    const char = this.#next();
    if (char !== '\\') return char.codePointAt(0) as number;
    return this.#namedClass() ?? this.#escapedCode();
  }

  #posixClass(): Accepts {
    const negated = this.#skip('^');
    let name = '';
    while (!this.#skip(':]')) name += this.#next();
    const set = posix[name];
    if (!set) throw this.#fail(`names the unknown class ${name}`);
    const test = new RegExp(`[${set}]`, 'u');
    const accepts: Accepts = (c) => test.test(String.fromCodePoint(c));
    return negated ? not(accepts) : accepts;
  }
}

/** The test of a Unicode category or script; undefined for unknown names. */
function propertyTest(name: string): Accepts | undefined {
  if (!/^\w+$/.test(name)) return undefined;
  if (name === 'Any') return () => true;
  for (const source of [`\\p{${name}}`, `\\p{Script=${name}}`]) {
    try {
      const test = new RegExp(source, 'u');
      return (c) => test.test(String.fromCodePoint(c));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return undefined;
}

type Assertion = (text: readonly number[], at: number) => boolean;

const startsText: Assertion = (_, at) => at === 0;
const endsText: Assertion = (text, at) => at === text.length;
const startsLine: Assertion = (text, at) => at === 0 || text[at - 1] === 10;
const endsLine: Assertion = (text, at) => at === text.length || text[at] === 10;
const atWordEdge: Assertion = (text, at) => (at > 0 && isWord(text[at - 1])) !== (at < text.length && isWord(text[at]));

/** Adds a step and what it reaches without consuming a character. */
function reach(steps: readonly Step[], from: number, text: readonly number[], at: number, seen: Set<number>): void {
  const open = [from];
  for (let step = open.pop(); step !== undefined; step = open.pop()) {
    if (seen.has(step)) continue;
    seen.add(step);
    const node = steps[step];
    if (node === undefined) continue;
    if (node.kind === 'split') open.push(node.other, node.next);
    else if (node.kind === 'assert' && node.holds(text, at)) open.push(node.next);
  }
}

/** Makes the test whether a whole text matches. `fail` makes the error for a pattern that is not RE2's. */
export function compileRegex(pattern: string, fail: Fail): (text: string) => boolean {
  const compiler = new Compiler(pattern, fail);
  const whole = compiler.compile();
  const { steps } = compiler;
  const accepted = steps.length;
  for (const end of whole.ends) end(accepted);
  return (string) => {
    const text = Array.from(string, (char) => char.codePointAt(0) as number);
    let current = new Set<number>();
    reach(steps, whole.start, text, 0, current);
    for (let at = 0; at < text.length && current.size > 0; at++) {
      const next = new Set<number>();
      for (const step of current) {
        const node = steps[step];
        if (node?.kind === 'take' && node.accepts(text[at])) reach(steps, node.next, text, at + 1, next);
      }
      current = next;
    }
    return current.has(accepted);
  };
}
