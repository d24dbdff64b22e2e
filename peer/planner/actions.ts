import type { PeerId } from '../member.ts';
import type { Inquiry, Plan } from '../messages.ts';

/** Names an open ask at its planner. */
export type AskHandle = number & { readonly __askHandle: unique symbol };
/** Names a question to another rank. */
export type InquiryHandle = number & { readonly __inquiryHandle: unique symbol };

/** What a planner wants done. */
export type PlannerAction =
  /** To the asker. After a final one the ask is over; nothing follows. */
  | { readonly kind: 'plan'; readonly ask: AskHandle; readonly plan: Plan }
  /** Ask another rank; its answer, or null when there is none, goes to `Planner.knowledge`. */
  | {
      readonly kind: 'inquire';
      readonly inquiry: InquiryHandle;
      readonly to: PeerId;
      readonly question: Inquiry;
      readonly timeoutMs: number;
    };
