/* SPDX-License-Identifier: MIT */
/*
 * vfork: the child runs on its parent's stack, so no C function may stand between the two: it would
 * return into a frame that the child has overwritten.  The return address waits in a register, which
 * the kernel keeps for each of the two, while both run.
 *
 * vfork_before(state) fills in the child's id, the mark that was in force and the signals that were
 * blocked; vfork_child(id, blocked) and vfork_parent(pid, id, mark, blocked) are in hook_process.c, too.
 * Shadow stacks (CET) are not kept in step.
 */

#if defined(__x86_64__)
	.text
	.globl	vfork
	.type	vfork, @function
	.globl	__vfork
	.set	__vfork, vfork
vfork:
	.cfi_startproc
	subq	$24, %rsp
	.cfi_adjust_cfa_offset 24
	movq	%rsp, %rdi
	call	vfork_before
	movq	(%rsp), %rsi		/* id */
	movq	8(%rsp), %rdx		/* mark */
	movq	16(%rsp), %r8		/* blocked */
	addq	$24, %rsp
	.cfi_adjust_cfa_offset -24
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rdi
	movl	$58, %eax		/* SYS_vfork */
	syscall
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	.cfi_offset %rip, -8
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	testq	%rax, %rax
	jnz	1f
	movq	%rsi, %rdi
	movq	%r8, %rsi
	call	vfork_child
	xorl	%eax, %eax
	jmp	2f
1:	movq	%rax, %rdi
	movq	%r8, %rcx
	call	vfork_parent		/* pid in rdi, id in rsi, mark in rdx, blocked in rcx */
2:	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	vfork, . - vfork

#elif defined(__aarch64__)
	.text
	.globl	vfork
	.type	vfork, %function
	.globl	__vfork
	.set	__vfork, vfork
vfork:
	stp	x29, x30, [sp, #-48]!
	add	x0, sp, #16
	bl	vfork_before
	ldp	x9, x10, [sp, #16]	/* id, mark */
	ldr	x12, [sp, #32]		/* blocked */
	ldp	x29, x30, [sp], #48
	mov	x11, x30
	mov	x0, #0x4111		/* CLONE_VM | CLONE_VFORK | SIGCHLD */
	mov	x1, #0
	mov	x2, #0
	mov	x3, #0
	mov	x4, #0
	mov	x8, #220		/* SYS_clone */
	svc	#0
	stp	x29, x11, [sp, #-16]!
	cbnz	x0, 1f
	mov	x0, x9
	mov	x1, x12
	bl	vfork_child
	mov	x0, #0
	b	2f
1:	mov	x1, x9
	mov	x2, x10
	mov	x3, x12
	bl	vfork_parent
2:	ldp	x29, x30, [sp], #16
	ret
	.size	vfork, . - vfork
#endif

	.section .note.GNU-stack, "", %progbits
