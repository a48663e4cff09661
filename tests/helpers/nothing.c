/* SPDX-License-Identifier: MIT */
/* The smallest dynamic program: what the exec storm and the bench execute. */
int main(void)
{
	return 0;
}
