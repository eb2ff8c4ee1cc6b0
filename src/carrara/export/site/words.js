// Text to the numbers of tokens as BERT's tokenizer makes them, from a tokenizer.json: a word is read as the longest
// pieces that it begins with, one after the other (WordPiece, Schuster and Nakajima, 2012).

const PUNCTUATION = /[!-/:-@[-`{-~]|\p{P}/u;
const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/u;
const SPACE = /\p{White_Space}/u;

export class Words {
  /** @param told the content of tokenizer.json, parsed. */
  constructor(told) {
    const { model, normalizer, post_processor: marks, truncation } = told;
    this.vocabulary = new Map(Object.entries(model.vocab));
    this.prefix = model.continuing_subword_prefix ?? "##";
    this.longest = model.max_input_chars_per_word ?? 100;
    this.unknown = this.vocabulary.get(model.unk_token);
    this.normal = normalizer;
    const pieces = marks?.single ?? [{ Sequence: {} }];
    const place = pieces.findIndex((piece) => piece.Sequence);
    const ids = (list) => list.flatMap((piece) => marks.special_tokens[piece.SpecialToken.id].ids);
    [this.before, this.after] = [ids(pieces.slice(0, place)), ids(pieces.slice(place + 1))];
    this.limit = truncation?.max_length ?? Infinity;
  }

  /** The tokens of each window of a text; an error where no token stands for a word. */
  windows(text) {
    const tokens = this.split(text).flatMap((word) => this.pieces(word));
    const room = this.limit - this.before.length - this.after.length, found = [];
    for (let k = 0; k === 0 || k < tokens.length; k += room)
      found.push([...this.before, ...tokens.slice(k, k + room), ...this.after]);
    return found;
  }

  /** Words and signs, normalised. */
  split(text) {
    const { clean_text: clean, handle_chinese_chars: chinese, lowercase, strip_accents: strip } = this.normal;
    let letters = [...text];
    if (clean) letters = letters.filter((c) => !/[\0\ufffd]/.test(c) && (/[\t\n\r]/.test(c) || !/\p{C}/u.test(c)));
    if (chinese) letters = letters.flatMap((c) => (CHINESE.test(c) ? [" ", c, " "] : [c]));
    if (strip ?? lowercase) letters = [...letters.join("").normalize("NFD")].filter((c) => !/\p{Mn}/u.test(c));
    if (lowercase) letters = letters.flatMap((c) => [...c.toLowerCase()]);
    const words = [[]];
    for (const c of letters) {
      if (SPACE.test(c)) words.push([]);
      else if (PUNCTUATION.test(c)) words.push([c], []);
      else words.at(-1).push(c);
    }
    return words.filter((word) => word.length).map((word) => word.join(""));
  }

  pieces(word) {
    const letters = [...word], found = [];
    for (let begin = 0; begin < letters.length && letters.length <= this.longest; ) {
      let end = letters.length, id;
      for (; end > begin; end--) {
        id = this.vocabulary.get((begin ? this.prefix : "") + letters.slice(begin, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return this.unread(word);
      found.push(id);
      begin = end;
    }
    return found.length ? found : this.unread(word);
  }

  unread(word) {
    if (/[\p{L}\p{N}]|[^\0-\x7f]/u.test(word))
      throw new Error(`The model cannot read “${word.slice(0, 40)}”: say it in other words.`);
    return [this.unknown];
  }
}
