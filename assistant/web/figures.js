/** Numbers as people read them: counts, tokens, money. */

const COUNT = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const MONEY = { style: "currency", currency: "USD" };
const CENTS = new Intl.NumberFormat("en", MONEY);
const FRACTION = new Intl.NumberFormat("en", { ...MONEY, minimumSignificantDigits: 2, maximumSignificantDigits: 3 });

export const UNPRICED = "not known";

export const count = (n) => COUNT.format(n);

/** Three digits at most, where there is little room: "12.3K". */
export const short = (n) => SHORT.format(n);

/** US dollars, which come as a string or null; parts of a cent, which calls cost, are not rounded away. */
export function dollars(amount) {
  if (amount == null) return UNPRICED;
  const value = Number(amount);
  return (value === 0 || value >= 1 ? CENTS : FRACTION).format(value);
}
